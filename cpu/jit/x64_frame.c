/* The shadow return stack. A guest's call is a host's call, and its return a host's return, which the host
 * predicts: on the host's stack lie frames of 16 bytes,
 *
 *   [RSP + 8]  the guest's RIP behind its call
 *   [RSP]      the host's address behind the call in generated code
 *
 * A return compares RIP with that of the last frame. If they differ it asks the table of indirect branches
 * like any other branch, and no frame goes: the one it wants may have been forgotten, or there never was one.
 * Whichever frame has the same RIP is right, for frames hold only as long as the table's slots do: whatever
 * can change the address space or the mode goes by jit_run_end, and then all frames are forgotten, as
 * when generated code is left. Behind the first one lies a frame of RIP 1, which leads to the table.
 */
#include "cpu/jit/x64_tr.h"

#define FRAMES_MAX  2048 /* of the host's stack: a thread has at least 128 KiB */
#define FRAME_BYTES 16
#define NO_RIP      1

void tr_frames_begin(struct jit *j, struct x64 *x)
{
    x64_byte(x, 0x6a); /* push imm8 */
    x64_byte(x, NO_RIP);
    x64_mov_imm(x, RSI, (uintptr_t)j->thunk.no_frame);
    x64_push(x, RSI);
    x64_store(x, 8, CPU_FIELD(tr.host_frames), RSP);
    x64_lea(x, 8, RSI, x64_m(RSP, -FRAMES_MAX * FRAME_BYTES));
    x64_store(x, 8, CPU_FIELD(tr.host_low), RSI);
}

void tr_frames_forget(struct x64 *x)
{
    x64_load(x, 8, RSP, CPU_FIELD(tr.host_frames));
}

bool tr_frame_fits(const struct tr *t)
{
    return !t->seg && !(t->b->mode & MODE_SINGLE) && tr_next_offset(t) < PAGE_SIZE;
}

void tr_frame_push(struct tr *t)
{
    struct x64 *x = &t->x;
    struct cold *c = tr_cold(t, COLD_FRAMES);

    x64_alu_to_reg(x, X_CMP, 8, RSP, CPU_FIELD(tr.host_low));
    tr_cold_from(c, x64_jcc(x, CC_C));
    c->back = x->p;
    x64_op(x, 0, 0xff, 4, 6, CPU_FIELD(tr.rip_page), 0); /* push m */
    x64_alu_imm(x, X_ADD, 8, x64_m(RSP, 0), (int32_t)tr_next_offset(t));
}

void tr_frame_land(struct tr *t)
{
    x64_pop(&t->x, TMP0);
    x64_alu_imm(&t->x, X_AND, 8, x64_r(TMP0), -(int32_t)PAGE_SIZE);
    x64_store(&t->x, 8, CPU_FIELD(tr.rip_page), TMP0);
    tr_link(t, x64_jmp(&t->x), tr_next_offset(t));
}

void tr_frame_return(struct tr *t)
{
    struct x64 *x = &t->x;
    uint8_t *other;

    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(RSP, 8));
    other = x64_jcc(x, CC_NZ);
    x64_byte(x, 0xc3);
    if (!x->overflow)
        x64_resolve(other, x->p);
}
