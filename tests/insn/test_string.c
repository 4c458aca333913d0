/* MOVS and STOS with repeat prefixes against what the manual says, element by element: all sizes, both
 * directions, operands that overlap in every way, over page borders. Whether the elements moved in bulk
 * must not show.
 */
#define HAND_MEM 16384
#include "tests/insn/hand_cpu.h"

enum { CODE_AT = 0x1000, MOST = 700, CASES = 20000 };

static uint32_t any(uint32_t below)
{
    return (uint32_t)(any64() >> 20) % below;
}

struct kase {
    bool movs, down;
    unsigned size, count;
    uint32_t from, to; /* in guest_mem */
    uint64_t value;
};

static struct kase pick(void)
{
    struct kase c = {.movs = any(2), .down = any(2), .size = 1u << any(4)};

    c.count = 1 + any(any(4) ? 40 : MOST);
    c.from = MOST * 8 + any(HAND_MEM - 2 * MOST * 8 - 8);
    c.to = any(3) ? c.from + any(80) - 40 : MOST * 8 + any(HAND_MEM - 2 * MOST * 8 - 8);
    c.value = any(2) ? any(256) * 0x0101010101010101ull : seed;
    return c;
}

static void by_element(const struct kase *c, uint8_t *mem)
{
    for (unsigned k = 0; k < c->count; k++) {
        int32_t at = (int32_t)(k * c->size) * (c->down ? -1 : 1);
        uint64_t v = c->movs ? ld_sized(mem + c->from + at, c->size) : c->value;
        st_sized(mem + c->to + at, v, c->size);
    }
}

static void ours(const struct kase *c)
{
    uint8_t code[4] = {0xf3}, n = 1;
    struct decode_result res;
    struct insn i;

    if (c->size == 2)
        code[n++] = 0x66;
    if (c->size == 8)
        code[n++] = 0x48;
    code[n++] = (uint8_t)((c->movs ? 0xa4 : 0xaa) | (c->size > 1));
    ck_assert(insn_decode(cpu, code, n, 0, &i, &res));
    cpu->cur = &i;
    cpu->r[REG_BRIP] = CODE_AT;
    cpu->r[REG_AX] = c->value;
    cpu->r[REG_CX] = c->count;
    cpu->r[REG_SI] = MEM_AT + c->from;
    cpu->r[REG_DI] = MEM_AT + c->to;
    cpu->eflags = (cpu->eflags & ~(uint64_t)FL_DF) | (c->down ? FL_DF : 0);
    do {
        cpu->rip = CODE_AT + n;
        ck_assert(insn_row(&i)->fn(cpu, &i));
    } while (cpu->rip == CODE_AT);
}

START_TEST(as_by_element)
{
    static uint8_t want[HAND_MEM];

    for (unsigned k = 0; k < CASES; k++) {
        struct kase c = pick();
        uint64_t moved = (uint64_t)c.count * c.size * (c.down ? ~0ull : 1);
        for (unsigned b = 0; b < HAND_MEM; b += 4)
            st32(guest_mem + b, any(UINT32_MAX));
        memcpy(want, guest_mem, HAND_MEM);
        by_element(&c, want);
        ours(&c);
        ck_assert_msg(memcmp(want, guest_mem, HAND_MEM) == 0,
                      "%s of %u by %u, %s, from %x to %x, value %llx", c.movs ? "MOVS" : "STOS",
                      c.count, c.size, c.down ? "down" : "up", c.from, c.to,
                      (unsigned long long)c.value);
        ck_assert_uint_eq(cpu->r[REG_CX], 0);
        ck_assert_uint_eq(cpu->r[REG_DI], MEM_AT + c.to + moved);
        ck_assert_uint_eq(cpu->r[REG_SI], MEM_AT + c.from + (c.movs ? moved : 0));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {as_by_element};
    return run_by_hand("string", tests, ARRAY_LEN(tests));
}
