import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { createFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { findSignature } from '../../src/device/signature.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { newest, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { reference } from '../support/reference.ts'
import { tempDir } from '../support/temp.ts'

/** The minimum size of mkfs.xfs. */
const SIZE = 300 * 2 ** 20
const KIB = 1024

type Write = readonly [at: number, bytes: Uint8Array | string]

const le32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const be32 = (value: number): Buffer => le32(value).reverse()

/** A sector with a word at `at` that makes the sum of its 16-bit words zero. */
function summed(bytes: Buffer, at: number): Buffer {
  let sum = 0
  for (let place = 0; place < bytes.length; place += 2) if (place !== at) sum += bytes.readUInt16LE(place)
  bytes.writeUInt16LE(-sum & 0xffff, at)
  return bytes
}

function silicon(): Buffer {
  const bytes = Buffer.alloc(0x140)
  le32(0x2f000000).copy(bytes, 0x60)
  return summed(bytes, 0x13e)
}

function jmicron(): Buffer {
  const bytes = Buffer.alloc(128)
  bytes.write('JM')
  return summed(bytes, 4)
}

function nvidia(): Buffer {
  const bytes = Buffer.alloc(120)
  bytes.write('NVIDIA  ')
  bytes.writeUInt32LE(30, 8)
  let sum = 0
  for (let at = 0; at < 120; at += 4) sum += bytes.readUInt32LE(at)
  bytes.writeUInt32LE(2 ** 32 - (sum % 2 ** 32), 12)
  return bytes
}

const drbd = (magic: number): Write[] => [
  [SIZE - 4096 + 60, be32(magic)],
  [SIZE - 4096 + 80, be32(4096)],
]
const hfs = (size: number): Write[] => [
  [KIB, 'BD'],
  [KIB + 20, be32(size)],
]
const fatParameters = '\x00\x02\x04\x01\x00\x02\x00\x02\x00\x00\xf8\x20\x00'
const mbr = (...types: readonly number[]): Write[] => [
  ...types.map((type, index): Write => [446 + index * 16 + 4, Buffer.of(type)]),
  [510, '\x55\xaa'],
]

const ufsMagics = [0x011954, 0x195612, 0x095014, 0x612195, 0x05231994, 0x19540119]

const kinds: readonly (readonly [type: string, ...writes: readonly Write[]])[] = [
  ...ufsMagics.flatMap((magic) => [
    ['ufs', [8 * KIB + 0x55c, le32(magic)]] as const,
    ['ufs', [64 * KIB + 0x55c, be32(magic)]] as const,
  ]),
  ['ocfs', [8 * KIB, 'OracleCFS']],
  ['xenix', [2048, '\x2b\x55\x44']],
  ['xenix', [2048, '\x44\x55\x2b']],
  ['gfs', [64 * KIB, '\x01\x16\x19\x70'], [64 * KIB + 24, be32(1309)], [64 * KIB + 28, be32(1401)]],
  ['nss', [4096, 'SPB5']],
  ['squashfs3', [0, 'hsqs'], [28, '\x03\0']],
  ['hfs', ...hfs(1536)],
  ['hfs', ...hfs(11 * 512)],
  ['vfat', [11, fatParameters], [32, le32(20000)], [510, '\x55\xaa']],
  ['vfat', [0, '\xeb\x3c\0'], [11, fatParameters], [32, le32(20000)], [510, '\x55\xaa']],
  ['swsuspend', [0, '\xed\xc3\x02\xe9\x98\x56\xe5\x0c']],
  [
    'xfs_external_log',
    [64 * KIB, Buffer.concat([be32(0xfeedbabe), be32(1), be32(2), be32(512)])],
    [64 * KIB + 300, be32(1)],
  ],
  ['drbd', ...drbd(0x8374026b)],
  ['drbd', ...drbd(0x8374026c)],
  ['drbd', ...drbd(0x8374026d)],
  ['drbdproxy_datalog', [0, 'DRBDdlh*'], [8, le32(1)]],
  ['isw_raid_member', [SIZE - 1024, 'Intel Raid ISM Cfg Sig. 1.0.00']],
  ['lsi_mega_raid_member', [SIZE - 512, '$XIDE$']],
  ['via_raid_member', [SIZE - 512, Buffer.concat([Buffer.of(0x55, 0xaa), Buffer.alloc(48), Buffer.of(0xff)])]],
  ['silicon_medley_raid_member', [SIZE - 512, silicon()]],
  ['nvidia_raid_member', [SIZE - 1024, nvidia()]],
  ['promise_fasttrack_raid_member', [SIZE - 63 * 512, 'Promise Technology, Inc.']],
  ['hpt45x_raid_member', [SIZE - 11 * 512, le32(0x5a7816f3)]],
  ['hpt37x_raid_member', [9 * 512 + 32, le32(0x5a7816f0)]],
  ['adaptec_raid_member', [SIZE - 512, be32(0x37fc4d1e)], [SIZE - 256, be32(0x4450544d)]],
  ['jmicron_raid_member', [SIZE - 512, jmicron()]],
  ['dos', ...mbr(0x83)],
  ['PMBR', ...mbr(0xee), [454, le32(1)], [458, le32(SIZE / 512 - 1)]],
  ['atari', [0x1c2, be32(SIZE / 512)], [0x1c6, '\x01GEM'], [0x1ca, be32(2048)], [0x1ce, be32(4096)]],
]

function write(device: Device, writes: readonly Write[]): void {
  for (const [at, bytes] of writes) device.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, at)
}

function makeFile(path: string, writes: readonly Write[]): string | undefined {
  const device = createFile(path, SIZE)
  try {
    write(device, writes)
    return findSignature(device)?.type
  } finally {
    device.close()
  }
}

test('less usual filesystems, members of arrays and partition tables are found', () => {
  const path = join(tempDir(), 'image')
  for (const [type, ...writes] of kinds) assert.equal(makeFile(path, writes), type)
})

test('mkfs.xfs refuses the same with the same names', () => {
  const path = join(tempDir(), 'image')
  for (const [type, ...writes] of kinds) {
    makeFile(path, writes)
    const { status, stderr } = reference(skip.newest === false, `refusal ${type} ${writes.map(([at]) => at)}`, () => {
      const ran = spawnSync(newest.mkfs, ['-q', path], { encoding: 'utf8' })
      return { status: ran.status, stderr: ran.stderr.replaceAll(path, 'image') }
    })
    assert.throws(() => mkfsFile(path), new RegExp(`appears to contain .*\\(${type}\\)`))
    assert.equal(status, 1, type)
    assert.match(stderr, new RegExp(`appears to contain .*\\(${type}\\)`))
  }
})

test('random bytes and text are no signature', () => {
  for (let seed = 1; seed <= 16; seed++) {
    const device = memoryDevice(2 ** 20, random(seed).bytes(300 * KIB))
    const found = findSignature(device)
    assert.ok(found === undefined || found.kind === 'file', `seed ${seed}: ${JSON.stringify(found)}`)
  }
  const text = memoryDevice(2 ** 20, Buffer.alloc(2 ** 20, '4'))
  assert.equal(findSignature(text), undefined)
})
