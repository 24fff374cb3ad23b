import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keptAttributes } from '../../src/transfer/attributes.ts'

/** Bytes that count how often they are read; so do parts of them. */
class Counted extends Uint8Array {
  static looks = 0
  override get length(): number {
    Counted.looks++
    return super.length
  }
}

const attributesOf = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    name: Counted.from(Buffer.from(`user.attribute-${i % (count - 1)}`)),
    value: Buffer.from(String(i)),
  }))

test('distinguishing the attributes of a file takes time proportional to their number', () => {
  const perName = (count: number): number => {
    const list = attributesOf(count)
    Counted.looks = 0
    const kept = keptAttributes(list, 0o644, (error) => assert.fail(error))
    assert.equal(kept.length, count - 1, 'the first of two with one name is kept')
    assert.equal(String(kept[0]?.value), '0')
    return Counted.looks / count
  }
  const few = perName(200)
  const many = perName(2000)
  assert.ok(many <= few * 3, `${few} looks at each of 200 names, ${many} at each of 2000`)
})
