/* The results of a full run of the oracle, for hosts that have nothing to compare with: a digest for
 * each case, whose inputs the generator makes again. See oracle.h.
 *
 *   all numbers little-endian, the whole compressed with zlib
 *   u32 magic, u32 version, u32 rows
 *   each row: u64 key (oracle_row_key), u32 n, n times u16 digest of case 0 to n - 1; 0: no result
 *
 * The version counts what changes inputs or digests: vectors of another one are of no use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "tests/insn/oracle_vectors.h"

#include "tests/insn/oracle.h"

enum { MAGIC = 0x4c4f4e54, VERSION = 1, MAX_ROWS = 4096, MAX_CASES = 65536 };

struct vectors_row {
    uint64_t key;
    uint32_t n;
    uint16_t *digest;
};

struct oracle_vectors {
    uint32_t rows;
    struct vectors_row row[MAX_ROWS];
};

struct oracle_vectors *oracle_vectors_new(void)
{
    return calloc(1, sizeof(struct oracle_vectors));
}

void oracle_vectors_free(struct oracle_vectors *v)
{
    for (uint32_t k = 0; v && k < v->rows; k++)
        free(v->row[k].digest);
    free(v);
}

static struct vectors_row *find(struct oracle_vectors *v, uint64_t key)
{
    for (uint32_t k = 0; k < v->rows; k++)
        if (v->row[k].key == key)
            return &v->row[k];
    return NULL;
}

void oracle_vectors_set(struct oracle_vectors *v, unsigned row, unsigned number, uint16_t digest)
{
    uint64_t key = oracle_row_key(row);
    struct vectors_row *r = find(v, key);

    if (!r) {
        CHECK(v->rows < MAX_ROWS);
        r = &v->row[v->rows++];
        r->key = key;
    }
    if (number >= r->n) {
        r->digest = realloc(r->digest, (number + 1) * sizeof(*r->digest));
        memset(r->digest + r->n, 0, (number + 1 - r->n) * sizeof(*r->digest));
        r->n = number + 1;
    }
    r->digest[number] = digest;
}

unsigned oracle_vectors_cases(struct oracle_vectors *v, unsigned row)
{
    const struct vectors_row *r = find(v, oracle_row_key(row));
    return r ? r->n : 0;
}

uint16_t oracle_vectors_get(struct oracle_vectors *v, unsigned row, unsigned number)
{
    const struct vectors_row *r = find(v, oracle_row_key(row));
    return r && number < r->n ? r->digest[number] : 0;
}

static void put(gzFile f, uint64_t v, unsigned n)
{
    uint8_t b[8];
    for (unsigned k = 0; k < n; k++)
        b[k] = (uint8_t)(v >> 8 * k);
    gzwrite(f, b, n);
}

static bool get(gzFile f, uint64_t *v, unsigned n)
{
    uint8_t b[8];
    if (gzread(f, b, n) != (int)n)
        return false;
    *v = 0;
    for (unsigned k = 0; k < n; k++)
        *v |= (uint64_t)b[k] << 8 * k;
    return true;
}

bool oracle_vectors_save(const struct oracle_vectors *v, const char *path)
{
    gzFile f = gzopen(path, "wb9");

    if (!f)
        return false;
    put(f, MAGIC, 4);
    put(f, VERSION, 4);
    put(f, v->rows, 4);
    for (uint32_t k = 0; k < v->rows; k++) {
        put(f, v->row[k].key, 8);
        put(f, v->row[k].n, 4);
        for (uint32_t c = 0; c < v->row[k].n; c++)
            put(f, v->row[k].digest[c], 2);
    }
    return gzclose(f) == Z_OK;
}

static bool load_rows(struct oracle_vectors *v, gzFile f)
{
    uint64_t magic, version, rows, key, n, digest;

    if (!get(f, &magic, 4) || magic != MAGIC || !get(f, &version, 4) || version != VERSION ||
        !get(f, &rows, 4) || rows > MAX_ROWS)
        return false;
    while (v->rows < rows) {
        struct vectors_row *r = &v->row[v->rows];
        if (!get(f, &key, 8) || !get(f, &n, 4) || n > MAX_CASES)
            return false;
        r->key = key;
        r->n = (uint32_t)n;
        r->digest = calloc(n ? n : 1, sizeof(*r->digest));
        v->rows++;
        for (uint32_t c = 0; c < n; c++) {
            if (!get(f, &digest, 2))
                return false;
            r->digest[c] = (uint16_t)digest;
        }
    }
    return true;
}

struct oracle_vectors *oracle_vectors_load(const char *path)
{
    struct oracle_vectors *v = oracle_vectors_new();
    gzFile f = gzopen(path, "rb");
    bool ok = f && load_rows(v, f);

    if (f)
        gzclose(f);
    if (ok)
        return v;
    oracle_vectors_free(v);
    return NULL;
}
