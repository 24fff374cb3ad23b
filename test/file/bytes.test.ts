import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  add,
  type Bytes,
  capped,
  exact,
  inUnit,
  least,
  MAX_FILE_SIZE,
  most,
  subtract,
  unitOf,
  unitStart,
  unitsFor,
} from '../../src/util/bytes.ts'
import { random } from '../support/random.ts'

/** Values around the limits of the number formats, and random ones. */
function values(count: number): bigint[] {
  const { int } = random(7)
  const edges = [0n, 1n, 511n, 4096n, 2n ** 32n, 2n ** 53n, 2n ** 54n, 2n ** 62n, 2n ** 63n - 1n]
  const near = edges.flatMap((edge) => [-4097n, -2n, -1n, 0n, 1n, 4095n].map((by) => edge + by))
  const others = Array.from({ length: count }, () => BigInt(int(2 ** 31)) * BigInt(int(2 ** 31)) + BigInt(int(5)))
  return [...near, ...others].filter((value) => value >= 0n && value <= MAX_FILE_SIZE)
}

test('sums, units and order of positions are those of BigInt, in one form', () => {
  const list = values(40)
  const isOneForm = (value: Bytes): boolean => typeof value === 'number' || !Number.isSafeInteger(Number(value))
  for (const a of list) {
    for (const unit of [512, 1024, 4096, 65536]) {
      const size = BigInt(unit)
      assert.equal(unitOf(exact(a), unit), Number(a / size))
      assert.equal(unitsFor(exact(a), unit), Number((a + size - 1n) / size))
      assert.equal(inUnit(exact(a), unit), Number(a % size))
      if (unit > 512) assert.equal(BigInt(unitStart(unitOf(exact(a), unit), unit)), (a / size) * size)
    }
    assert.equal(String(exact(a)), String(a))
    assert.equal(capped(exact(a), 1000), a < 1000n ? Number(a) : 1000)
    for (const b of list) {
      const [sum, difference] = [add(exact(a), exact(b)), subtract(exact(a), exact(b))]
      assert.ok(BigInt(sum) === a + b && isOneForm(sum), `${a} + ${b}`)
      assert.ok(BigInt(difference) === a - b && isOneForm(difference), `${a} - ${b}`)
      assert.equal(BigInt(least(exact(a), exact(b))), a < b ? a : b)
      assert.equal(BigInt(most(exact(a), exact(b))), a > b ? a : b)
      assert.equal(exact(a) === exact(b), a === b)
      assert.equal(exact(a) < exact(b), a < b)
    }
  }
})
