/* Stored results of the oracle: see oracle_vectors.c. */
#ifndef TESTS_INSN_ORACLE_VECTORS_H
#define TESTS_INSN_ORACLE_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

struct oracle_vectors;
struct oracle_vectors *oracle_vectors_new(void);
void oracle_vectors_free(struct oracle_vectors *v);
/* digest: oracle_digest(), or 0 for a case without a result. */
void oracle_vectors_set(struct oracle_vectors *v, unsigned row, unsigned number, uint16_t digest);
unsigned oracle_vectors_cases(struct oracle_vectors *v, unsigned row);
uint16_t oracle_vectors_get(struct oracle_vectors *v, unsigned row, unsigned number);
bool oracle_vectors_save(const struct oracle_vectors *v, const char *path);
struct oracle_vectors *
oracle_vectors_load(const char *path); /* NULL: none, or of another version */

#endif
