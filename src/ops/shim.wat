;; The atomic words as one-instruction functions: V8 calls them from optimised JS without leaving machine code,
;; which it does not do for the JS Atomics (reference performance.md 1.2).
;; Addresses are word indices below 2^30; the shift happens here, in unsigned 32-bit arithmetic.
(module
  (import "env" "memory" (memory 1 65536 shared))
  (global $hi (mut i32) (i32.const 0))

  (func (export "ld") (param $a i32) (result i32)
    (i32.atomic.load (i32.shl (local.get $a) (i32.const 2))))
  (func (export "st") (param $a i32) (param $v i32)
    (i32.atomic.store (i32.shl (local.get $a) (i32.const 2)) (local.get $v)))
  (func (export "cas") (param $a i32) (param $old i32) (param $new i32) (result i32)
    (i32.atomic.rmw.cmpxchg (i32.shl (local.get $a) (i32.const 2)) (local.get $old) (local.get $new)))
  (func (export "add") (param $a i32) (param $v i32) (result i32)
    (i32.atomic.rmw.add (i32.shl (local.get $a) (i32.const 2)) (local.get $v)))
  (func (export "and") (param $a i32) (param $v i32) (result i32)
    (i32.atomic.rmw.and (i32.shl (local.get $a) (i32.const 2)) (local.get $v)))
  (func (export "or") (param $a i32) (param $v i32) (result i32)
    (i32.atomic.rmw.or (i32.shl (local.get $a) (i32.const 2)) (local.get $v)))
  (func (export "xchg") (param $a i32) (param $v i32) (result i32)
    (i32.atomic.rmw.xchg (i32.shl (local.get $a) (i32.const 2)) (local.get $v)))

  ;; 16-bit compare-exchange: $h is an index in half words.
  (func (export "cas16") (param $h i32) (param $old i32) (param $new i32) (result i32)
    (i32.atomic.rmw16.cmpxchg_u (i32.shl (local.get $h) (i32.const 1)) (local.get $old) (local.get $new)))

  ;; 64-bit words cross the border as two i32: an i64 would be a BigInt.
  (func (export "ld64") (param $a i32) (result i32)
    (local $v i64)
    (local.set $v (i64.atomic.load (i32.shl (local.get $a) (i32.const 2))))
    (global.set $hi (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 32))))
    (i32.wrap_i64 (local.get $v)))
  (func (export "hi64") (result i32) (global.get $hi))
  (func (export "st64") (param $a i32) (param $lo i32) (param $hi i32)
    (i64.atomic.store (i32.shl (local.get $a) (i32.const 2))
      (i64.or (i64.extend_i32_u (local.get $lo))
              (i64.shl (i64.extend_i32_u (local.get $hi)) (i64.const 32)))))
  (func (export "stPlain64") (param $a i32) (param $lo i32) (param $hi i32)
    (i64.store (i32.shl (local.get $a) (i32.const 2))
      (i64.or (i64.extend_i32_u (local.get $lo))
              (i64.shl (i64.extend_i32_u (local.get $hi)) (i64.const 32)))))
  (func (export "xchg64") (param $a i32) (param $lo i32) (param $hi i32) (result i32)
    (local $v i64)
    (local.set $v
      (i64.atomic.rmw.xchg (i32.shl (local.get $a) (i32.const 2))
        (i64.or (i64.extend_i32_u (local.get $lo))
                (i64.shl (i64.extend_i32_u (local.get $hi)) (i64.const 32)))))
    (global.set $hi (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 32))))
    (i32.wrap_i64 (local.get $v)))
  (func (export "cas64")
    (param $a i32) (param $oldLo i32) (param $oldHi i32) (param $newLo i32) (param $newHi i32) (result i32)
    (local $old i64)
    (local.set $old
      (i64.or (i64.extend_i32_u (local.get $oldLo))
              (i64.shl (i64.extend_i32_u (local.get $oldHi)) (i64.const 32))))
    (i64.eq
      (local.get $old)
      (i64.atomic.rmw.cmpxchg (i32.shl (local.get $a) (i32.const 2))
        (local.get $old)
        (i64.or (i64.extend_i32_u (local.get $newLo))
                (i64.shl (i64.extend_i32_u (local.get $newHi)) (i64.const 32))))))

  ;; Bulk, in words.
  (func (export "fill") (param $a i32) (param $n i32)
    (memory.fill (i32.shl (local.get $a) (i32.const 2)) (i32.const 0) (i32.shl (local.get $n) (i32.const 2))))
  (func (export "copy") (param $to i32) (param $from i32) (param $n i32)
    (memory.copy (i32.shl (local.get $to) (i32.const 2)) (i32.shl (local.get $from) (i32.const 2))
      (i32.shl (local.get $n) (i32.const 2)))))
