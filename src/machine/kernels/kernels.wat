;; Whole-table loops. Addresses are word indices as everywhere; the frame record's layout is src/machine/frame.ts:
;; a 64-bit word of reference count (low) and type (high), then owner and generation, then the flush stamp.
;; A kernel does entry by entry what the hypervisor's slow path does, in its commonest cases only, and stops with the
;; index of the first entry that is not one of them; each reference and type count move in one compare-exchange.
(module
  (import "env" "memory" (memory 1 65536 shared))

  ;; Takes the references of the present entries from index $from on, storing each adjusted ([X25]).
  ;; Stops at: flags in $badLo/$badHi, a frame beyond memory or not $owner's, a count of 0 or at the top, a writable
  ;; entry whose frame is not typed writable already. Answers 512, or the index; plus 1024 when that entry's references
  ;; were taken while the frame changed hands and are to be dropped by the caller.
  (func (export "validateL1")
    (param $base i32) (param $from i32) (param $owner i32) (param $table i32) (param $frames i32)
    (param $badLo i32) (param $badHi i32) (result i32)
    (local $i i32) (local $p i32) (local $e i64) (local $lo i32) (local $r i32) (local $own i32)
    (local $x i64) (local $y i64) (local $n i64) (local $bad i64)
    (local.set $i (local.get $from))
    (local.set $p (i32.add (i32.shl (local.get $base) (i32.const 2)) (i32.shl (local.get $from) (i32.const 3))))
    ;; forbidden flags, and the frame bits of the high word
    (local.set $bad (i64.or (i64.extend_i32_u (local.get $badLo))
      (i64.shl (i64.extend_i32_u (i32.or (local.get $badHi) (i32.const 0xfffff))) (i64.const 32))))
    (loop $next
      (if (i32.ge_u (local.get $i) (i32.const 512)) (then (return (i32.const 512))))
      (local.set $e (i64.load (local.get $p)))
      (local.set $lo (i32.wrap_i64 (local.get $e)))
      (if (i32.and (local.get $lo) (i32.const 1))
        (then
          (if (i32.eqz (i64.eqz (i64.and (local.get $e) (local.get $bad)))) (then (return (local.get $i))))
          (if (i32.ge_u (i32.shr_u (local.get $lo) (i32.const 12)) (local.get $frames)) (then (return (local.get $i))))
          (local.set $r (i32.add (i32.shl (local.get $table) (i32.const 2))
            (i32.shl (i32.shr_u (local.get $lo) (i32.const 12)) (i32.const 4))))
          (local.set $own (i32.load offset=8 (local.get $r)))
          (if (i32.ne (i32.and (local.get $own) (i32.const 0xffff)) (local.get $owner)) (then (return (local.get $i))))
          (local.set $x (i64.load (local.get $r)))
          (loop $again
            (if (i32.le_u
                  (i32.and (i32.add (i32.wrap_i64 (local.get $x)) (i32.const 2)) (i32.const 0x03ffffff))
                  (i32.const 2))
              (then (return (local.get $i))))
            (local.set $n (i64.add (local.get $x) (i64.const 1)))
            (if (i32.and (local.get $lo) (i32.const 2))
              (then
                ;; type writable (7), validated
                (if (i64.ne (i64.and (local.get $x) (i64.const 0x5c00000000000000)) (i64.const 0x5c00000000000000))
                  (then (return (local.get $i))))
                (if (i64.eq (i64.and (local.get $x) (i64.const 0x03ffffff00000000)) (i64.const 0x03ffffff00000000))
                  (then (return (local.get $i))))
                (local.set $n (i64.add (local.get $n) (i64.const 0x100000000)))))
            (local.set $y (i64.atomic.rmw.cmpxchg (local.get $r) (local.get $x) (local.get $n)))
            (if (i64.ne (local.get $y) (local.get $x))
              (then (local.set $x (local.get $y)) (br $again))))
          (if (i32.ne (i32.load offset=8 (local.get $r)) (local.get $own))
            (then (return (i32.or (local.get $i) (i32.const 1024)))))
          ;; US clear: US and bit 52. Bit 52 set: as it is. Else: G.
          (if (i32.eqz (i32.and (local.get $lo) (i32.const 4)))
            (then (i64.store (local.get $p) (i64.or (local.get $e) (i64.const 0x0010000000000004))))
            (else (if (i64.eqz (i64.and (local.get $e) (i64.const 0x0010000000000000)))
              (then (i64.store (local.get $p) (i64.or (local.get $e) (i64.const 0x100)))))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (br $next))
    (unreachable))

  ;; Drops the references of the present entries $from .. $to-1. Stops at: flags in $badHi, Xen's own frames, a frame's last
  ;; reference, a type that is not validated and writable, or the page lock's last but one. $clock is the flush clock's address.
  ;; Answers $to or the index.
  (func (export "unvalidateL1")
    (param $base i32) (param $from i32) (param $to i32) (param $table i32) (param $frames i32) (param $badHi i32)
    (param $clock i32) (result i32)
    (local $i i32) (local $p i32) (local $e i64) (local $lo i32) (local $r i32) (local $count i32)
    (local $x i64) (local $y i64) (local $n i64)
    (local.set $i (local.get $from))
    (local.set $p (i32.add (i32.shl (local.get $base) (i32.const 2)) (i32.shl (local.get $from) (i32.const 3))))
    (local.set $clock (i32.shl (local.get $clock) (i32.const 2)))
    (loop $next
      (if (i32.ge_u (local.get $i) (local.get $to)) (then (return (local.get $to))))
      (local.set $e (i64.load (local.get $p)))
      (local.set $lo (i32.wrap_i64 (local.get $e)))
      (if (i32.and (local.get $lo) (i32.const 1))
        (then
          (if (i32.and (i32.wrap_i64 (i64.shr_u (local.get $e) (i64.const 32)))
                (i32.or (local.get $badHi) (i32.const 0xfffff)))
            (then (return (local.get $i))))
          (if (i32.ge_u (i32.shr_u (local.get $lo) (i32.const 12)) (local.get $frames)) (then (return (local.get $i))))
          (local.set $r (i32.add (i32.shl (local.get $table) (i32.const 2))
            (i32.shl (i32.shr_u (local.get $lo) (i32.const 12)) (i32.const 4))))
          (local.set $x (i64.load (local.get $r)))
          (loop $again
            (if (i32.le_u (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x03ffffff)) (i32.const 1))
              (then (return (local.get $i))))
            ;; Xen's own frames (I/O memory among them, whose entries hold nothing)
            (if (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x20000000)) (then (return (local.get $i))))
            (local.set $n (i64.sub (local.get $x) (i64.const 1)))
            (if (i32.and (local.get $lo) (i32.const 2))
              (then
                (if (i64.ne (i64.and (local.get $x) (i64.const 0x5c00000000000000)) (i64.const 0x5c00000000000000))
                  (then (return (local.get $i))))
                (local.set $count (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 32))) (i32.const 0x03ffffff)))
                (if (i32.eqz (local.get $count)) (then (return (local.get $i))))
                (if (i32.eq (local.get $count) (i32.const 2))
                  (then (if (i64.ne (i64.and (local.get $x) (i64.const 0x40000000)) (i64.const 0))
                    (then (return (local.get $i))))))
                ;; the last use as writable: stamp before letting go
                (if (i32.eq (local.get $count) (i32.const 1))
                  (then (i32.store offset=12 (local.get $r) (i32.atomic.load (local.get $clock)))))
                (local.set $n (i64.sub (local.get $n) (i64.const 0x100000000)))))
            (local.set $y (i64.atomic.rmw.cmpxchg (local.get $r) (local.get $x) (local.get $n)))
            (if (i64.ne (local.get $y) (local.get $x))
              (then (local.set $x (local.get $y)) (br $again))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (br $next))
    (unreachable))

  ;; One present entry's references: 0 taken, 1 nothing done (not a common case), 2 taken but the frame changed hands.
  (func $get (param $e i64) (param $owner i32) (param $table i32) (param $frames i32) (result i32)
    (local $lo i32) (local $r i32) (local $own i32) (local $x i64) (local $y i64) (local $n i64)
    (local.set $lo (i32.wrap_i64 (local.get $e)))
    (if (i64.ne (i64.and (local.get $e) (i64.const 0x000fffff00000000)) (i64.const 0)) (then (return (i32.const 1))))
    (if (i32.ge_u (i32.shr_u (local.get $lo) (i32.const 12)) (local.get $frames)) (then (return (i32.const 1))))
    (local.set $r (i32.add (i32.shl (local.get $table) (i32.const 2))
      (i32.shl (i32.shr_u (local.get $lo) (i32.const 12)) (i32.const 4))))
    (local.set $own (i32.load offset=8 (local.get $r)))
    (if (i32.ne (i32.and (local.get $own) (i32.const 0xffff)) (local.get $owner)) (then (return (i32.const 1))))
    (local.set $x (i64.load (local.get $r)))
    (loop $again
      (if (i32.le_u
            (i32.and (i32.add (i32.wrap_i64 (local.get $x)) (i32.const 2)) (i32.const 0x03ffffff))
            (i32.const 2))
        (then (return (i32.const 1))))
      (local.set $n (i64.add (local.get $x) (i64.const 1)))
      (if (i32.and (local.get $lo) (i32.const 2))
        (then
          (if (i64.ne (i64.and (local.get $x) (i64.const 0x5c00000000000000)) (i64.const 0x5c00000000000000))
            (then (return (i32.const 1))))
          (if (i64.eq (i64.and (local.get $x) (i64.const 0x03ffffff00000000)) (i64.const 0x03ffffff00000000))
            (then (return (i32.const 1))))
          (local.set $n (i64.add (local.get $n) (i64.const 0x100000000)))))
      (local.set $y (i64.atomic.rmw.cmpxchg (local.get $r) (local.get $x) (local.get $n)))
      (if (i64.ne (local.get $y) (local.get $x))
        (then (local.set $x (local.get $y)) (br $again))))
    (i32.shl (i32.ne (i32.load offset=8 (local.get $r)) (local.get $own)) (i32.const 1)))

  ;; Drops them: 0 done, 1 nothing done. With $really 0 only says whether it would.
  (func $put
    (param $e i64) (param $table i32) (param $frames i32) (param $badHi i32) (param $clock i32) (param $really i32)
    (result i32)
    (local $lo i32) (local $r i32) (local $count i32) (local $x i64) (local $y i64) (local $n i64)
    (local.set $lo (i32.wrap_i64 (local.get $e)))
    (if (i32.and (i32.wrap_i64 (i64.shr_u (local.get $e) (i64.const 32)))
          (i32.or (local.get $badHi) (i32.const 0xfffff)))
      (then (return (i32.const 1))))
    (if (i32.ge_u (i32.shr_u (local.get $lo) (i32.const 12)) (local.get $frames)) (then (return (i32.const 1))))
    (local.set $r (i32.add (i32.shl (local.get $table) (i32.const 2))
      (i32.shl (i32.shr_u (local.get $lo) (i32.const 12)) (i32.const 4))))
    (local.set $x (i64.load (local.get $r)))
    (loop $again
      (if (i32.le_u (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x03ffffff)) (i32.const 1))
        (then (return (i32.const 1))))
      (if (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x20000000)) (then (return (i32.const 1))))
      (local.set $n (i64.sub (local.get $x) (i64.const 1)))
      (if (i32.and (local.get $lo) (i32.const 2))
        (then
          (if (i64.ne (i64.and (local.get $x) (i64.const 0x5c00000000000000)) (i64.const 0x5c00000000000000))
            (then (return (i32.const 1))))
          (local.set $count (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 32))) (i32.const 0x03ffffff)))
          (if (i32.eqz (local.get $count)) (then (return (i32.const 1))))
          (if (i32.eq (local.get $count) (i32.const 2))
            (then (if (i64.ne (i64.and (local.get $x) (i64.const 0x40000000)) (i64.const 0))
              (then (return (i32.const 1))))))
          (local.set $n (i64.sub (local.get $n) (i64.const 0x100000000)))))
      (if (i32.eqz (local.get $really)) (then (return (i32.const 0))))
      (if (i32.and (i32.and (local.get $lo) (i32.const 2)) (i32.shl (i32.eq (local.get $count) (i32.const 1)) (i32.const 1)))
        (then (i32.store offset=12 (local.get $r) (i32.atomic.load (local.get $clock)))))
      (local.set $y (i64.atomic.rmw.cmpxchg (local.get $r) (local.get $x) (local.get $n)))
      (if (i64.ne (local.get $y) (local.get $x))
        (then (local.set $x (local.get $y)) (br $again))))
    (i32.const 0))

  ;; Normal updates (ptr, val) from $reqs on, of entries of the one L1 $mfn, whose page lock is held. Stops at a request of
  ;; another kind or table and at whatever is not a common case. Answers how many were done; plus 65536 when the next one
  ;; was stored as well, its old entry (now in its val) still holding its references; plus 131072 when nothing of the next
  ;; one was done but the new entry's references were taken while its frame changed hands.
  (func (export "updateL1")
    (param $reqs i32) (param $count i32) (param $mfn i32) (param $owner i32) (param $table i32) (param $frames i32)
    (param $badLo i32) (param $badHi i32) (param $clock i32) (result i32)
    (local $i i32) (local $q i32) (local $slot i32) (local $ptr i32) (local $rc i32)
    (local $new i64) (local $old i64) (local $bad i64)
    (local.set $q (i32.shl (local.get $reqs) (i32.const 2)))
    (local.set $clock (i32.shl (local.get $clock) (i32.const 2)))
    (local.set $bad (i64.or (i64.extend_i32_u (local.get $badLo))
      (i64.shl (i64.extend_i32_u (local.get $badHi)) (i64.const 32))))
    (loop $next
      (if (i32.ge_u (local.get $i) (local.get $count)) (then (return (local.get $count))))
      (local.set $ptr (i32.load (local.get $q)))
      (if (i32.load offset=4 (local.get $q)) (then (return (local.get $i))))
      (if (i32.ne (i32.shr_u (local.get $ptr) (i32.const 12)) (local.get $mfn)) (then (return (local.get $i))))
      (if (i32.and (local.get $ptr) (i32.const 7)) (then (return (local.get $i))))
      (local.set $slot (i32.and (local.get $ptr) (i32.const -8)))
      (local.set $new (i64.load offset=8 (local.get $q)))
      (local.set $old (i64.atomic.load (local.get $slot)))
      (if (i32.and (i32.wrap_i64 (local.get $new)) (i32.const 1))
        (then
          (if (i64.ne (i64.and (local.get $new) (local.get $bad)) (i64.const 0)) (then (return (local.get $i))))
          (if (i64.eqz (i64.and (local.get $new) (i64.const 4)))
            (then (local.set $new (i64.or (local.get $new) (i64.const 0x0010000000000004))))
            (else (if (i64.eqz (i64.and (local.get $new) (i64.const 0x0010000000000000)))
              (then (local.set $new (i64.or (local.get $new) (i64.const 0x100)))))))))
      (block $stored
        ;; nothing but flags without references differs
        (if (i32.and
              (i32.and (i32.wrap_i64 (local.get $new)) (i32.const 1))
              (i64.eqz (i64.and (i64.xor (local.get $new) (local.get $old)) (i64.const 0x000ffffffffff09b))))
          (then (i64.atomic.store (local.get $slot) (local.get $new)) (br $stored)))
        (if (i32.and (i32.wrap_i64 (local.get $old)) (i32.const 1))
          (then
            (if (call $put (local.get $old) (local.get $table) (local.get $frames) (local.get $badHi) (local.get $clock)
                  (i32.const 0))
              (then (return (local.get $i))))))
        (if (i32.and (i32.wrap_i64 (local.get $new)) (i32.const 1))
          (then
            (local.set $rc (call $get (local.get $new) (local.get $owner) (local.get $table) (local.get $frames)))
            (if (i32.eq (local.get $rc) (i32.const 1)) (then (return (local.get $i))))
            (if (local.get $rc) (then (return (i32.or (local.get $i) (i32.const 131072)))))))
        (i64.atomic.store (local.get $slot) (local.get $new))
        (if (i32.and (i32.wrap_i64 (local.get $old)) (i32.const 1))
          (then
            (if (call $put (local.get $old) (local.get $table) (local.get $frames) (local.get $badHi) (local.get $clock)
                  (i32.const 1))
              (then
                (i64.store offset=8 (local.get $q) (local.get $old))
                (return (i32.or (local.get $i) (i32.const 65536))))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $q (i32.add (local.get $q) (i32.const 16)))
      (br $next))
    (unreachable))

  ;; A TLB miss; one that has to set A or D of the leaf does it. Stops, with -1, at an entry that is not present, not the user's,
  ;; no memory, or not accessed yet above the leaf, at a PSE bit there, at a write or fetch that is not allowed, and where it
  ;; loses a race for A or D. Words of the slot: tlb-slot.ts.
  (func (export "walkFill")
    (param $va f64) (param $root i32) (param $slot i32) (param $keys i32) (param $access i32) (param $table i32)
    (param $frames i32) (result i32)
    (local $v i64) (local $at i32) (local $e i64) (local $all i64) (local $any i64) (local $mfn i32) (local $lo i32)
    (local $want i32) (local $got i32) (local $tag f64) (local $base i32)
    (if (i32.ge_u (local.get $root) (local.get $frames)) (then (return (i32.const -1))))
    ;; an integer below 2^52, by way of the bits of 2^52 more
    (local.set $v (i64.reinterpret_f64 (f64.add (local.get $va) (f64.const 0x1p52))))
    (local.set $e
      (i64.load (i32.or (i32.shl (local.get $root) (i32.const 12))
        (i32.and (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 36))) (i32.const 0xff8)))))
    (local.set $all (local.get $e))
    (local.set $any (local.get $e))
    (local.set $mfn (i32.shr_u (i32.wrap_i64 (local.get $e)) (i32.const 12)))
    (if (i32.ge_u (local.get $mfn) (local.get $frames)) (then (return (i32.const -1))))
    (local.set $at
      (i32.or (i32.shl (local.get $mfn) (i32.const 12))
        (i32.and (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 27))) (i32.const 0xff8))))
    (local.set $e (i64.load (local.get $at)))
    (local.set $all (i64.and (local.get $all) (local.get $e)))
    (local.set $any (i64.or (local.get $any) (local.get $e)))
    (local.set $mfn (i32.shr_u (i32.wrap_i64 (local.get $e)) (i32.const 12)))
    (if (i32.ge_u (local.get $mfn) (local.get $frames)) (then (return (i32.const -1))))
    (local.set $at
      (i32.or (i32.shl (local.get $mfn) (i32.const 12))
        (i32.and (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 18))) (i32.const 0xff8))))
    (local.set $e (i64.load (local.get $at)))
    (local.set $all (i64.and (local.get $all) (local.get $e)))
    (local.set $any (i64.or (local.get $any) (local.get $e)))
    (if (i32.or (i32.ne (i32.and (i32.wrap_i64 (local.get $all)) (i32.const 0x25)) (i32.const 0x25))
                (i32.and (i32.wrap_i64 (local.get $any)) (i32.const 0x80)))
      (then (return (i32.const -1))))
    (local.set $mfn (i32.shr_u (i32.wrap_i64 (local.get $e)) (i32.const 12)))
    (if (i32.ge_u (local.get $mfn) (local.get $frames)) (then (return (i32.const -1))))
    (local.set $at
      (i32.or (i32.shl (local.get $mfn) (i32.const 12))
        (i32.and (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 9))) (i32.const 0xff8))))
    (local.set $e (i64.load (local.get $at)))
    (local.set $all (i64.and (local.get $all) (local.get $e)))
    (local.set $any (i64.or (local.get $any) (local.get $e)))
    (local.set $lo (i32.wrap_i64 (local.get $e)))
    (local.set $mfn (i32.shr_u (local.get $lo) (i32.const 12)))
    (if (i32.ge_u (local.get $mfn) (local.get $frames)) (then (return (i32.const -1))))
    (if (i64.ne (i64.and (local.get $any) (i64.const 0x000fffff00000000)) (i64.const 0)) (then (return (i32.const -1))))
    ;; what the access wants of all levels: present and user, a write also RW, a fetch no NX; what it sets: A, a write also D
    (local.set $want (i32.or (i32.const 5) (i32.and (local.get $access) (i32.const 2))))
    (if (i32.ne (i32.and (i32.wrap_i64 (local.get $all)) (local.get $want)) (local.get $want))
      (then (return (i32.const -1))))
    (if (i32.and (i32.shr_u (local.get $access) (i32.const 4))
                 (i32.wrap_i64 (i64.shr_u (local.get $any) (i64.const 63))))
      (then (return (i32.const -1))))
    (local.set $want
      (i32.or (i32.or (local.get $lo) (i32.const 0x20)) (i32.shl (i32.and (local.get $access) (i32.const 2)) (i32.const 5))))
    (if (i32.ne (local.get $lo) (local.get $want))
      (then
        (if (i32.ne (i32.atomic.rmw.cmpxchg (local.get $at) (local.get $lo) (local.get $want)) (local.get $lo))
          (then (return (i32.const -1))))))
    ;; WALK_WRITE, bit 20: RW on all levels, and a dirty leaf; WALK_GLOBAL, bit 21; WALK_NX, bit 22
    (local.set $got
      (i32.or
        (i32.or (local.get $mfn)
          (i32.and (i32.const 0x100000)
            (i32.and (i32.shl (i32.wrap_i64 (local.get $all)) (i32.const 19)) (i32.shl (local.get $want) (i32.const 14)))))
        (i32.or (i32.shl (i32.and (local.get $lo) (i32.const 0x100)) (i32.const 13))
                (i32.shl (i32.wrap_i64 (i64.shr_u (local.get $any) (i64.const 63))) (i32.const 22)))))
    (local.set $tag
      (f64.add (f64.sub (local.get $va) (f64.convert_i32_s (i32.and (i32.wrap_i64 (local.get $v)) (i32.const 0xfff))))
        (f64.load (i32.add (i32.shl (local.get $keys) (i32.const 2))
          (i32.and (i32.shr_u (local.get $got) (i32.const 18)) (i32.const 8))))))
    (local.set $slot (i32.shl (local.get $slot) (i32.const 2)))
    (local.set $base (i32.shl (local.get $mfn) (i32.const 10)))
    (f64.store (local.get $slot) (local.get $tag))
    (f64.store offset=8 (local.get $slot)
      (select (local.get $tag) (f64.const 0) (i32.and (local.get $got) (i32.const 0x100000))))
    (i32.store offset=16 (local.get $slot) (local.get $base))
    (i32.store offset=20 (local.get $slot) (local.get $got))
    (i32.store offset=24 (local.get $slot) (i32.add (local.get $root) (i32.const 1)))
    (i32.store offset=28 (local.get $slot)
      (i32.load offset=8 (i32.add (i32.shl (local.get $table) (i32.const 2)) (i32.shl (local.get $mfn) (i32.const 4)))))
    (i32.or (local.get $base) (i32.shr_u (i32.and (i32.wrap_i64 (local.get $v)) (i32.const 0xfff)) (i32.const 2))))

  ;; Number of present entries of the table at $base. Eight entries a turn: four loads, each two bytes short of the one before, so
  ;; that the low words of a load's two entries lie one further right, and three blends put all eight side by side.
  (func (export "countPresent") (param $base i32) (result i32)
    (local $p i32) (local $end i32) (local $n v128)
    (local.set $p (i32.shl (local.get $base) (i32.const 2)))
    (local.set $end (i32.add (local.get $p) (i32.const 4096)))
    (loop $next
      (local.set $n
        (i16x8.add (local.get $n)
          (v128.and (v128.const i16x8 1 1 1 1 1 1 1 1)
            (i8x16.shuffle 0 1 2 3 20 21 22 23 8 9 10 11 28 29 30 31
              (i8x16.shuffle 0 1 18 19 4 5 6 7 8 9 26 27 12 13 14 15
                (v128.load (local.get $p)) (v128.load offset=14 (local.get $p)))
              (i8x16.shuffle 0 1 2 3 4 5 22 23 8 9 10 11 12 13 30 31
                (v128.load offset=28 (local.get $p)) (v128.load offset=42 (local.get $p)))))))
      (local.set $p (i32.add (local.get $p) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
    (local.set $n (i32x4.extadd_pairwise_i16x8_u (local.get $n)))
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $n)) (i32x4.extract_lane 1 (local.get $n)))
      (i32.add (i32x4.extract_lane 2 (local.get $n)) (i32x4.extract_lane 3 (local.get $n)))))

  ;; Writes the indices of the present entries to the words from $out on; answers how many (at most 512).
  (func (export "listPresent") (param $base i32) (param $out i32) (result i32)
    (local $p i32) (local $o i32) (local $i i32)
    (local.set $p (i32.shl (local.get $base) (i32.const 2)))
    (local.set $o (i32.shl (local.get $out) (i32.const 2)))
    (loop $next
      ;; stored always, kept only when present: no branch to mispredict
      (i32.store (local.get $o) (local.get $i))
      (local.set $o (i32.add (local.get $o) (i32.shl (i32.and (i32.load (local.get $p)) (i32.const 1)) (i32.const 2))))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 512))))
    (i32.sub (i32.shr_u (local.get $o) (i32.const 2)) (local.get $out)))

  (func (export "zeroPage") (param $base i32)
    (memory.fill (i32.shl (local.get $base) (i32.const 2)) (i32.const 0) (i32.const 4096)))
  (func (export "copyPage") (param $to i32) (param $from i32)
    (memory.copy (i32.shl (local.get $to) (i32.const 2)) (i32.shl (local.get $from) (i32.const 2)) (i32.const 4096))))
