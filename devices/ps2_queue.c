/* The output queue that PS/2 keyboard and mouse have in common: see ps2.h. */
#include "devices/ps2.h"

static const struct vm_field ps2_queue_fields[] = {
    VM_BYTES(struct ps2_queue, data),
    VM_INT(struct ps2_queue, head),
    VM_INT(struct ps2_queue, len),
    VM_BYTES(struct ps2_queue, reply),
    VM_INT(struct ps2_queue, reply_head),
    VM_INT(struct ps2_queue, reply_len),
    VM_END,
};

static bool ps2_queue_post_load(void *obj)
{
    const struct ps2_queue *q = obj;

    return q->head < PS2_QUEUE && q->len <= PS2_QUEUE && q->reply_head <= PS2_REPLIES &&
           q->reply_len <= PS2_REPLIES - q->reply_head;
}

const struct vmstate vm_ps2_queue =
    VMSTATE_HOOKS("ps2_queue", struct ps2_queue, ps2_queue_fields, NULL, ps2_queue_post_load);

void ps2_queue_clear(struct ps2_queue *q)
{
    q->head = q->len = 0;
    q->reply_head = q->reply_len = 0;
}

void ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned n)
{
    CHECK(n <= ps2_queue_room(q));
    for (unsigned i = 0; i < n; i++)
        q->data[(q->head + q->len++) % PS2_QUEUE] = bytes[i];
}

void ps2_queue_reply(struct ps2_queue *q, uint8_t v)
{
    if (q->reply_len == 0)
        q->reply_head = 0;
    CHECK(q->reply_head + q->reply_len < PS2_REPLIES);
    q->reply[q->reply_head + q->reply_len++] = v;
}

uint8_t ps2_queue_take(struct ps2_queue *q)
{
    uint8_t v;

    if (q->reply_len) {
        q->reply_len--;
        return q->reply[q->reply_head++];
    }
    CHECK(q->len > 0);
    v = q->data[q->head];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->len--;
    return v;
}
