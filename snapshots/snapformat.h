/* Places in the snapshot file, for snapshots/ only: docs/snapshot-format.md. All numbers are
 * little-endian. */
#ifndef SNAPSHOTS_SNAPFORMAT_H
#define SNAPSHOTS_SNAPFORMAT_H

#include "snapshots/snapfile.h"

#define SNAP_MAGIC "TNMSNAP\x1a"

/* Header, at the file's start. */
enum {
    SNAP_H_MAGIC = 0,
    SNAP_H_VERSION = 8,
    SNAP_H_LENGTH = 12,
    SNAP_H_SIZE = 16,
    SNAP_H_TABLE = 24,
    SNAP_H_TABLE_LEN = 32,
    SNAP_H_ID = 40,
    SNAP_H_TABLE_CRC = 48,
    SNAP_H_CRC = 60, /* of all before */
    SNAP_HEADER = 64,
};

/* One chunk in the table. */
enum {
    SNAP_T_TYPE = 0,
    SNAP_T_FLAGS = 4,
    SNAP_T_OFFSET = 8,
    SNAP_T_STORED = 16,
    SNAP_T_RAW = 24,
    SNAP_T_CRC = 32,
    SNAP_TABLE_ENTRY = 40,
};

/* A stream's directory: head, then entries. */
enum {
    SNAP_D_NAME = 0,
    SNAP_D_SIZE = 32,
    SNAP_D_UNIT = 40,
    SNAP_D_PAGE = 44,
    SNAP_D_MISSING = 48,
    SNAP_D_ENTRIES = 56,
    SNAP_DIR_HEAD = 64,
};
enum {
    SNAP_E_UNIT = 0,
    SNAP_E_KIND = 4,
    SNAP_E_HASH = 8,
    SNAP_E_OFFSET = 16,
    SNAP_E_STORED = 24,
    SNAP_E_CRC = 28,
    SNAP_DIR_ENTRY = 32,
};

static inline uint64_t snap_units(uint64_t size)
{
    return (size + SNAP_UNIT - 1) / SNAP_UNIT;
}

#endif
