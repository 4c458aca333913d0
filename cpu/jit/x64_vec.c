/* Instructions that the host has too: SSE and its kin, one to one. See x64_tr.h. */
#include "cpu/jit/x64_tr.h"

bool tr_is_native(const struct tr *t, const struct insn *i, bool *vec)
{
    return false;
}

bool tr_native(struct tr *t)
{
    return false;
}
