import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

/**
 * Numeric offsets into structures on disk are only allowed in declarations. Other code uses a
 * declared field, or `at + X.fields.name.offset`. This finds a number that is, or is added to, the
 * offset of a DataView access or of `get64` and `set64`; and a number that is, or is added to, the
 * index of bytes.
 */
const RAW = [
  /\.(?:get|set)(?:(?:Ui|I)nt(?:8|16|32)|Big(?:Ui|I)nt64)\((?:[^,()]*[+-] *)?(?:0x)?\d[\da-f_]*(?: *\*[^,()]*)?[,)]/i,
  /\b(?:get|set|getExact)64\(\w+, (?:[^,()]*[+-] *)?(?:0x)?\d[\da-f_]*(?: *\*[^,()]*)?[,)]/i,
  /\b(?:all|block|bytes|content|image|raw|sector)\[(?:\w+ [+-] )?\d+\]/,
]

/** Files whose bytes are not structures of XFS, or that define declarations. */
const FREE: Readonly<Record<string, string>> = {
  'format/fields.ts': 'the kinds of fields',
  'device/notxfs.ts': 'magic numbers of other formats',
  'device/partition.ts': 'partition tables',
  'device/signature.ts': 'magic numbers of other formats',
  'namespace/resolve.ts': 'paths as text',
  'transfer/pax.ts': 'headers of tar archives',
  'transfer/readahead.ts': 'messages of a worker',
  'transfer/tarheader.ts': 'headers of tar archives',
  'transfer/tarread.ts': 'headers of tar archives',
  'util/crc32c.ts': 'bytes of any kind',
}

const isRaw = (line: string): boolean => !/^\s*(?:\/\/|\*|\/\*)/.test(line) && RAW.some((pattern) => pattern.test(line))

/** The number of lines with a numeric offset in each file of src. */
function found(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    const file = name.replaceAll('\\', '/')
    if (!file.endsWith('.ts') || file in FREE) continue
    const lines = readFileSync(join('src', file), 'utf8').split('\n').filter(isRaw)
    if (lines.length > 0) counts[file] = lines.length
  }
  return counts
}

test('numeric offsets into structures are in declarations only', () => {
  assert.deepEqual(found(), {}, 'files and their lines with a numeric offset')
})

test('what is a numeric offset', () => {
  for (const raw of [
    'view.getUint32(at + 16)',
    'view.getUint16(4)',
    'view.setUint32(at + 4, value)',
    'view.getBigUint64(0x20)',
    'get64(view, start + 8)',
    'set64(view, 56, size)',
    'view.getUint16(48 + 4 * i)',
    'view.getUint32(at + 4 * i)',
    'bytes[at + 2] = flags',
    'if (bytes[0] === 1)',
  ])
    assert.ok(isRaw(raw), raw)
  for (const declared of [
    'view.getUint32(at + HASH)',
    'view.getUint32(at + Agfl.size)',
    'X.fields.size.get(view, at)',
    'view.getUint32(at)',
    'get64(view, at + DirSfHead.size)',
    '// view.getUint32(4)',
    'names[i + 1]',
  ])
    assert.ok(!isRaw(declared), declared)
})
