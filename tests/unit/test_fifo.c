/* Memory given back in the order in which it was taken: against a list of what is in use. */
#include "base/fifo.h"
#include "tests/unit/suite.h"

enum { SIZE = 1000, LONGEST = 120, RECORDS = SIZE };

static struct {
    size_t at, n;
    uint64_t time;
} rec[RECORDS];
static unsigned first, count;

static void put(struct fifo *f, size_t n)
{
    size_t at = f->head;
    bool clear = true;

    ck_assert_uint_le(at + n, SIZE);
    for (unsigned k = 0; k < count; k++) {
        size_t a = rec[(first + k) % RECORDS].at, len = rec[(first + k) % RECORDS].n;
        clear &= at + n <= a || a + len <= at;
    }
    ck_assert(clear);
    fifo_take(f, n);
    rec[(first + count) % RECORDS].at = at;
    rec[(first + count) % RECORDS].n = n;
    rec[(first + count) % RECORDS].time = fifo_time(f, at);
    count++;
}

static void get(struct fifo *f)
{
    ck_assert(!fifo_empty(f));
    ck_assert_uint_eq(f->tail, rec[first].at);
    fifo_give(f, rec[first].n);
    first = (first + 1) % RECORDS;
    count--;
}

static void look(const struct fifo *f, uint64_t newest)
{
    size_t used = 0;
    bool times = true, order = true;

    ck_assert(fifo_empty(f) == (count == 0));
    for (unsigned k = 0; k < count; k++) {
        unsigned r = (first + k) % RECORDS;
        used += rec[r].n;
        times &= fifo_time(f, rec[r].at) == rec[r].time && rec[r].time >= fifo_oldest(f);
        order &= k == 0 || rec[r].time > rec[(r + RECORDS - 1) % RECORDS].time;
    }
    ck_assert(times && order);
    ck_assert_uint_eq(fifo_used(f), used);
    ck_assert(count == 0 || rec[(first + count - 1) % RECORDS].time >= newest);
}

START_TEST(in_order)
{
    struct fifo f;
    uint64_t random = 1, newest = 0, gone = 0;

    fifo_init(&f, SIZE);
    first = count = 0;
    for (unsigned k = 0; k < 5000; k++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        size_t want = 1 + (random >> 33) % LONGEST;
        if (random >> 60 == 0)
            while (count)
                get(&f);
        while (!fifo_room(&f, LONGEST)) {
            gone = rec[first].time;
            get(&f);
            ck_assert(fifo_empty(&f) || fifo_oldest(&f) > gone);
        }
        put(&f, want);
        look(&f, newest);
        newest = rec[(first + count - 1) % RECORDS].time;
    }
    ck_assert_uint_gt(newest, 50 * SIZE);
}
END_TEST

/* No more is given back than is needed: all but the longest record and what is lost at the end is used. */
START_TEST(full)
{
    struct fifo f;

    fifo_init(&f, SIZE);
    first = count = 0;
    for (unsigned k = 0; k < 1000; k++) {
        while (!fifo_room(&f, LONGEST))
            get(&f);
        put(&f, 10);
        ck_assert(k < SIZE / 10 || fifo_used(&f) > SIZE - 2 * LONGEST - 10);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {in_order, full};

    return RUN_TESTS("fifo", tests);
}
