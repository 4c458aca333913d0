/* Memory that is given back in the order in which it was taken. See fifo.h. */
#include "base/fifo.h"

#include "base/check.h"

void fifo_init(struct fifo *f, size_t size)
{
    *f = (struct fifo){.size = size, .lap = size};
}

bool fifo_room(struct fifo *f, size_t n)
{
    CHECK(n <= f->size / 2);
    if (!f->wrapped) {
        if (f->size - f->head >= n)
            return true;
        f->end = f->head;
        f->head = 0;
        f->lap += f->size;
        f->wrapped = f->tail != f->end;
        if (!f->wrapped)
            f->tail = 0;
    }
    return (f->wrapped ? f->tail : f->size) - f->head >= n;
}

void fifo_take(struct fifo *f, size_t n)
{
    CHECK((f->wrapped ? f->tail : f->size) - f->head >= n);
    f->head += n;
}

void fifo_give(struct fifo *f, size_t n)
{
    f->tail += n;
    CHECK(f->tail <= (f->wrapped ? f->end : f->head));
    if (f->wrapped && f->tail == f->end) {
        f->tail = 0;
        f->wrapped = false;
    }
}
