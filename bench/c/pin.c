/* Twin of bench/pin.ts. The data is mapped by a base tree as well, so counts go from 1 to 2 and back. */
#include "frames.h"

static struct tree base, other;
static int pins, pinned;
static uint32_t pages, *data;

static void set(int to)
{
  if (pinned != to && (to ? pin(other.l4, LEVEL(4), 1) : unpin(other.l4, 1)))
    abort();
  pinned = to;
}
static void reset(void) { set(!pins); }
static uint32_t run(void)
{
  set(pins);
  return 0;
}

static uint32_t counts(void) { return type_counts(data, pages); }

int main(int argc, char **argv)
{
  pages = (uint32_t)atoi(argv[1]);
  pins = strstr(argv[1], "unpin") == NULL;
  one_word = strstr(argv[1], "one") != NULL;
  machine((unsigned)atoi(argv[argc - 1]));
  data = malloc(pages * sizeof *data);
  for (uint32_t i = 0; i < pages; i++)
    data[i] = take();
  base = lay_tree(data, pages);
  other = lay_tree(data, pages);
  own_frames(data, pages);
  if (pin(base.l4, LEVEL(4), 1))
    abort();
  check = counts;
  return serve(reset, run, pages);
}
