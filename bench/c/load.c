/* Twin of bench/load.ts. */
#include "tlb.h"

enum { ADDRESSES = 4096, TIMES = 100 };
static uint64_t addresses[ADDRESSES];

static uint32_t run(void)
{
  uint32_t sum = 0;
  for (int k = 0; k < TIMES; k++)
    for (int i = 0; i < ADDRESSES; i++) {
      uint64_t v = guest_load(addresses[i]);
      sum += (uint32_t)v ^ (uint32_t)(v >> 32);
    }
  return sum;
}

int main(int argc, char **argv)
{
  uint32_t pages = (uint32_t)atoi(argv[1]);
  machine((unsigned)atoi(argv[argc - 1]));
  uint32_t *data = malloc(pages * sizeof *data);
  for (uint32_t i = 0; i < pages; i++)
    data[i] = take();
  struct tree t = lay_tree(data, pages);
  cpu.cr3 = t.l4;
  cpu.key = 1 << 16;
  cpu.global_key = 2 << 16;
  for (uint32_t i = 0; i < pages * 1024; i++)
    page_of(data[i >> 10])[i & 1023] = i * 2654435761u;
  for (int i = 0; i < ADDRESSES; i++) {
    uint64_t page = next_random() % pages;
    addresses[i] = page * 4096 + (next_random() & 511) * 8;
  }
  return serve(NULL, run, (uint64_t)ADDRESSES * TIMES);
}
