import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describe, type StructDescription } from '../../src/db/describe.ts'
import { Refusal } from '../../src/db/session.ts'
import { structures } from '../../src/db/types.ts'
import { xfskit } from '../support/cli.ts'

test('describe shows the fields of a structure with all that is declared of them', () => {
  const lines = describe('rmap_rec', false).split('\n')
  assert.equal(lines[0], 'rmap_rec: 24 bytes (xfs_format.h: struct xfs_rmap_rec)')
  assert.match(lines[1] as string, /^offset +size +bits +field +kind +since +to +what$/)
  assert.match(lines[2] as string, /^ +0 +4 +startblock +agbno +data +first block$/)
  assert.match(lines[5] as string, /^ +16 +8 +0 +attrfork +bits /)
  assert.match(lines[9] as string, /^ +16 +8 +10-63 +offset +bits /)
  const agi = describe('agi', false)
  assert.match(agi, /\n +0 +4 +magicnum +x32 +"XAGI", 0x58414749\n/)
  assert.match(agi, /\n +40 +256 +unlinked +agino\[64\] +heads/)
  assert.match(agi, /\n +328 +4 +free_root +agbno +finobt +finobt +root of finobt\n/)
  assert.throws(() => describe('nothing', false), Refusal)
})

test('--json describes every structure: its fields in order, without a gap, to its end', () => {
  const { schema, structures: all } = JSON.parse(describe(undefined, true)) as {
    schema: string
    structures: StructDescription[]
  }
  assert.equal(schema, 'xfskit.db.describe')
  assert.deepEqual(
    all.map(({ name }) => name),
    [...structures.keys()],
  )
  for (const { name, size, source, fields } of all) {
    let end = 0
    for (const field of fields) {
      assert.ok(field.offset === end || (field.bits && field.offset + field.size === end), `${name}.${field.name}`)
      end = field.offset + field.size
      assert.notEqual(field.doc, '', `${name}.${field.name}`)
    }
    assert.equal(end, size, name)
    assert.match(source, /\w+\.h: /, name)
  }
})

test('the command line needs no image', () => {
  assert.equal(xfskit(['db', 'describe', 'agf']).stdout, describe('agf', false))
  assert.equal(xfskit(['db', 'describe', '--json']).stdout, describe(undefined, true))
  const none = xfskit(['db', 'describe', 'nothing'])
  assert.equal(none.status, 1)
  assert.match(none.stderr, /^xfskit db: no structure nothing/)
})
