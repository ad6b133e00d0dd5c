/* Twin of bench/page.ts. */
#include "machine.h"

enum { CALLS = 8192 };
static uint32_t pages, ops;
static char what;

static uint32_t count_present(const uint64_t *table)
{
  uint32_t n = 0;
  for (unsigned i = 0; i < 512; i++)
    n += table[i] & 1;
  return n;
}

static uint32_t run(void)
{
  uint32_t sum = 0;
  for (uint32_t k = 0; k < ops; k += pages)
    for (uint32_t i = 0; i < pages; i++) {
      if (what == 'z')
        memset(page_of(1 + i), 0, 4096);
      else if (what == 'o')
        memcpy(page_of(1 + pages + i), page_of(1 + i), 4096);
      else
        sum += count_present(slot_of(1 + i, 0));
      __asm__ volatile("" ::: "memory");
    }
  return sum;
}

static uint32_t left(void)
{
  const uint32_t *last = page_of(what == 'o' ? 2 * pages : pages);
  if (what == 'n')
    return count_present((const uint64_t *)last);
  uint32_t sum = 0;
  for (unsigned i = 0; i < 1024; i++)
    sum += last[i];
  return sum;
}

int main(int argc, char **argv)
{
  what = argv[1][0] == 'z' ? 'z' : argv[1][2] == 'p' ? 'o' : 'n';
  pages = (uint32_t)atoi(strchr(argv[1], ' ') + 1);
  ops = pages > CALLS ? pages : CALLS;
  machine((unsigned)atoi(argv[argc - 1]));
  memset(words, 0, (size_t)atoi(argv[argc - 1]) << 20);
  for (uint32_t i = 0; i < pages * 1024; i += 2)
    page_of(1)[i] = ((i >> 1) * 2654435761u) >> 31;
  check = left;
  return serve(NULL, run, ops);
}
