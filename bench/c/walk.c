/* Twin of bench/walk.ts. */
#include "tlb.h"

static struct tree tree;
static uint32_t pages, times;
static int touch;
static uint64_t *addresses;

static void clear_bits(void)
{
  if (!touch)
    return;
  for (uint32_t i = 0; i < tree.n1; i++)
    for (unsigned k = 0; k < 512; k++)
      *slot_of(tree.l1[i], k) &= ~(uint64_t)(ACCESSED | DIRTY);
}

static uint32_t run(void)
{
  uint32_t sum = 0;
  for (uint32_t k = 0; k < times; k++)
    for (uint32_t i = 0; i < pages; i++) {
      if (touch)
        guest_store(addresses[i], i);
      else
        sum += (uint32_t)guest_load(addresses[i]);
    }
  return sum;
}

int main(int argc, char **argv)
{
  pages = (uint32_t)atoi(argv[1]);
  touch = strstr(argv[1], "touch") != NULL;
  machine((unsigned)atoi(argv[argc - 1]));
  times = touch || pages >= 65536 ? 1 : 65536 / pages;
  uint32_t *pairs = malloc(pages * sizeof *pairs), *data = malloc(pages * sizeof *data);
  addresses = malloc(pages * sizeof *addresses);
  for (uint32_t i = 0; i < pages; i++)
    *page_of(data[i] = take()) = i;
  tree = lay_tree(data, pages);
  cpu.cr3 = tree.l4;
  cpu.key = 1 << 16;
  cpu.global_key = 2 << 16;
  for (uint32_t i = 0; i < pages / 2; i++)
    pairs[i] = i % 256 + 512 * (i / 256);
  shuffle(pairs, pages / 2);
  for (uint32_t i = 0; i < pages; i++)
    addresses[i] = (uint64_t)(pairs[i / 2] + 256 * (i & 1)) * 4096;
  return serve(clear_bits, run, (uint64_t)pages * times);
}
