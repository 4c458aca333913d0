#!/usr/bin/env python3
"""Reads snapshots by docs/snapshot-format.md and nothing else: where this fails and the program does
not, the page is wrong. Every checksum and hash is compared, contents of parents are looked up.

usage: reader.py SNAPSHOT...
"""
import os
import struct
import sys
import zlib

MASK = (1 << 64) - 1
K1, K2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
UNIT, PAGE, PAGES = 65536, 4096, 16
ZERO, BASE, PARENT, DATA = 1, 2, 3, 4


def rotl(x, n):
    return (x << n | x >> 64 - n) & MASK


def lane(h, word):
    return rotl(h ^ word * K1 & MASK, 29) * K2 & MASK


def fold(h):
    h = (h ^ h >> 32) * K2 & MASK
    h = (h ^ h >> 32) * K2 & MASK
    return h ^ h >> 32


def hash64(data, seed=0):
    h = [seed ^ K1, rotl(seed, 16) + K2 & MASK, rotl(seed, 32) ^ len(data), seed + K1 * K2 & MASK]
    whole, rest = len(data) // 32 * 32, len(data) // 8 * 8
    for at in range(0, whole, 32):
        h = [lane(x, w) for x, w in zip(h, struct.unpack_from('<4Q', data, at))]
    for at in range(whole, rest, 8):
        h[0] = lane(h[0], struct.unpack_from('<Q', data, at)[0])
    if rest < len(data):
        h[1] = lane(h[1], int.from_bytes(data[rest:], 'little'))
    return fold(lane(lane(lane(h[0], h[1]), h[2]), h[3]) ^ len(data))


def check(what, truth):
    if not truth:
        sys.exit(f'reader.py: {what} is not as the page says')


def read_objects(data):
    """{object: {field: bytes, or a list of integers}}"""
    objects, at = {}, 0
    while at < len(data):
        name_len, fields, size = struct.unpack_from('<HII', data, at)
        at += 10 + name_len
        name, end, into = data[at - name_len:at].decode(), at + size, {}
        for _ in range(fields):
            field_len, kind, width, count = struct.unpack_from('<HBBI', data, at)
            at += 8 + field_len
            value = data[at:at + width * count]
            check('an integer', kind == 2 and width == 1 or kind == 1 and width in (1, 2, 4, 8))
            into[data[at - field_len:at].decode()] = value if kind == 2 else [
                int.from_bytes(value[n:n + width], 'little') for n in range(0, len(value), width)]
            at += len(value)
        check(f'the length of {name}', at == end)
        objects[name] = into
    return objects


class Stream:
    def __init__(self, file, directory):
        self.file, self.name = file, directory[:32].rstrip(b'\0').decode()
        self.size, unit, page, self.missing = struct.unpack_from('<QIIB', directory, 32)
        count, = struct.unpack_from('<Q', directory, 56)
        check('the size of units', (unit, page) == (UNIT, PAGE) and len(directory) == 64 + 32 * count)
        self.entries = {}
        for n in range(count):
            entry = struct.unpack_from('<IIQQII', directory, 64 + 32 * n)
            self.entries[entry[0]] = entry[1:]
        check('the order of entries', list(self.entries) == sorted(self.entries))

    def inflated(self, unit):
        kind, _, offset, length, crc = self.entries[unit]
        stored = self.file.data[offset:offset + length]
        check('the CRC of a unit', kind == DATA and zlib.crc32(stored) == crc)
        plain = zlib.decompress(stored)
        return struct.unpack_from('<16Q', plain), plain[8 * PAGES:]

    def page(self, words, data, n):
        if words[n] == 0:
            return bytes(PAGE)
        if words[n] != 1:
            check('a page that is as another', words[n] & 3 == 2)
            other = words[n] >> 2
            words, data = self.inflated(other // PAGES)
            n = other % PAGES
            check('the other page', words[n] == 1)
        at = words[:n].count(1) * PAGE
        return data[at:at + PAGE]

    def contents(self, unit):
        """None: zero, or as in the base."""
        kind, expected = self.entries.get(unit, (self.missing, 0))[:2]
        if kind in (ZERO, BASE):
            return None
        if kind == PARENT:
            parent = self.file.parent.streams[self.name]
            check('the hash in the parent', parent.entries[unit][1] == expected)
            return parent.contents(unit)
        words, data = self.inflated(unit)
        whole = b''.join(self.page(words, data, n) for n in range(PAGES))
        check('the hash of a unit', hash64(whole) == expected)
        return whole


class Snapshot:
    def __init__(self, path):
        with open(path, 'rb') as f:
            self.data = data = f.read()
        magic, version, head, size, table, length, self.id, crc = struct.unpack_from('<8sIIQQQQI', data)
        check('the header', magic == b'TNMSNAP\x1a' and (version, head, size) == (1, 64, len(data)))
        check('the CRC of the header', zlib.crc32(data[:60]) == struct.unpack_from('<I', data, 60)[0])
        chunks = data[table:table + length]
        check('the chunk table', zlib.crc32(chunks) == crc and hash64(chunks) == self.id)
        self.streams, found = {}, {}
        for at in range(0, length, 40):
            kind, flags, offset, stored, raw, crc, zero = struct.unpack_from('<4sIQQQII', chunks, at)
            chunk = data[offset:offset + stored]
            check(f'the CRC of {kind}', zlib.crc32(chunk) == crc and zero == 0)
            chunk = zlib.decompress(chunk) if flags & 1 else chunk
            check(f'the size of {kind}', len(chunk) == raw)
            if kind == b'SDIR':
                stream = Stream(self, chunk)
                self.streams[stream.name] = stream
            else:
                check(f'a second {kind}', kind not in found)
                found[kind] = chunk
        self.conf, self.stat = read_objects(found[b'CONF']), read_objects(found[b'STAT'])
        if b'THMB' in found:
            width, height = struct.unpack_from('<II', found[b'THMB'])
            check('the picture', len(found[b'THMB']) == 8 + width * height * 3)
        self.parent = None
        if 'parent' in self.conf:
            name = self.conf['parent']['path'].decode()
            self.parent = Snapshot(os.path.join(os.path.dirname(path), name))
            check('the identity of the parent', self.conf['parent']['id'] == [self.parent.id])

    def describe(self):
        units = [stream.contents(unit) for stream in self.streams.values() for unit in stream.entries]
        memory, = self.conf['config']['memory']
        check('the size of memory', self.streams['ram'].size == memory)
        check('the state', {'machine', 'cpu0', 'pit'} <= set(self.stat))
        return f'{memory >> 20} MiB, {len(self.stat)} devices, {len(units)} units'


check('the example of hash64', hash64(b'abc', 7) == 0x16538CACCE469622)
if len(sys.argv) < 2:
    sys.exit(__doc__)
for argument in sys.argv[1:]:
    print(f'{argument}: {Snapshot(argument).describe()}')
