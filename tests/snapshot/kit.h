/* What the snapshot tests share: files in a folder of their own, small machines, snapshots with a
 * part replaced. */
#ifndef TESTS_SNAPSHOT_KIT_H
#define TESTS_SNAPSHOT_KIT_H

#include "machine/machine_int.h"
#include "snapshots/snapfile.h"
#include "tests/unit/suite.h"

/* A path in this test's folder; the last 256 stay valid. kit_clean removes the folder. */
const char *kit_path(const char *name);
void kit_clean(void);
/* Files whole in memory. */
struct blob kit_read(const char *path);
void kit_write(const char *path, const void *data, size_t size);
bool kit_exists(const char *path);

/* 16 MiB, instruction clock, no disks. */
void kit_config(tnm_config *cfg);
tnm_machine *kit_create(const tnm_config *cfg);
tnm_machine *kit_machine(void); /* of kit_config, run for a moment */
void kit_save(tnm_machine *m, const char *path, const char *parent);
tnm_snapshot *kit_open(const char *path);
void kit_refused(const char *path, enum tnm_code code, const char *says);

/* Copies a snapshot with one of its state's objects' integers changed. */
void kit_change_field(const char *from, const char *to, const char *object, const char *field,
                      uint64_t value);

#endif
