import assert from 'node:assert/strict'
import { test } from 'node:test'
import { followOf } from '../../src/db/locate.ts'
import { dbTypes, structures } from '../../src/db/types.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import type { Field, Struct } from '../../src/format/struct.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { onDevice } from './support.ts'

/** Fields of a structure that are pointers, including those of inner structures. */
function* pointers(struct: Struct): Generator<Field<unknown>> {
  for (const field of struct.list) {
    const inner = field.inner ?? field.element?.inner
    if (inner) yield* pointers(inner)
    if (field.to !== undefined) yield field
  }
}

test('what a declaration points to is a type, and its kind is an address', () => {
  let count = 0
  for (const struct of structures.values()) {
    for (const { name, kind, to } of pointers(struct)) {
      count++
      const place = `${struct.name}.${name}`
      assert.ok(to === 'btree' || to === 'inodata' || dbTypes.has(to as string), `${place} to ${to}`)
      assert.ok(followOf(kind, 'data') && followOf(kind, 'attr'), `${place}: ${kind} is not an address`)
    }
  }
  assert.ok(count > 40, `${count} fields`)
})

test('addr follows fields of headers, inodes, records and keys', () => {
  const device = memoryDevice(300 * 2 ** 20)
  mkfs(device, {})
  const reach = (...commands: string[]): string => onDevice(device, commands).out
  const types: Readonly<Record<string, readonly string[]>> = {
    inode: ['sb 0', 'addr rootino'],
    log: ['sb 0', 'addr logstart'],
    bnobt: ['agf 0', 'addr bnoroot'],
    cntbt: ['agf 0', 'addr cntroot'],
    rmapbt: ['agf 0', 'addr rmaproot'],
    refcntbt: ['agf 0', 'addr refcntroot'],
    inobt: ['agi 0', 'addr root'],
    finobt: ['agi 0', 'addr free_root'],
  }
  for (const [type, commands] of Object.entries(types))
    assert.match(reach(...commands, 'addr'), new RegExp(`type ${type}\n$`), commands.join('; '))
  assert.match(reach('agi 0', 'addr root', 'addr recs[1].startino', 'addr'), /inode 128, dir inode 128, type inode/)
  assert.match(reach('agf 0', 'addr bnoroot', 'addr recs[1].startblock', 'addr'), /type data\n$/)
  assert.match(reach('inode 128', 'addr u3.sfdir3.hdr.parent.i4', 'addr'), /inode 128, .*type inode/)
  assert.equal(reach('agf 0', 'addr bnoroot', 'addr leftsib'), 'null block number, cannot set new addr\n')
  assert.equal(reach('agi 0', 'addr dirino'), 'null inode number, cannot set new addr\n')
  for (const [at, field] of [
    ['agf 0', 'freeblks'],
    ['inode 128', 'v3.inumber'],
    ['agi 0', 'unlinked[0]'],
  ] as const)
    assert.match(reach(at, `addr ${field}`), /^no next type for field \w+\n$/, field)
})
