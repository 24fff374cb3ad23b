import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { findSignature } from '../../src/device/signature.ts'
import { window } from '../../src/device/window.ts'
import { entries } from '../../src/dir/dir.ts'
import { XfsError } from '../../src/errors.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { verify } from '../../src/format/verify/verify.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { DETERMINISTIC_GENERATION, type MkfsOptions, parseSize } from '../../src/mkfs/options.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve, rootDirectory } from '../../src/namespace/resolve.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { ours, theirs } from '../db/support.ts'
import { distribution, mountImage, newest, repairComplaints, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { tempDir, withTempDir } from '../support/temp.ts'
import { UUID } from './compare.ts'

const MIB = 2 ** 20
const fixed: MkfsOptions = { uuid: UUID, time: { seconds: 1, nanoseconds: 0 }, generation: DETERMINISTIC_GENERATION }

const hasCode = (code: string) => (error: unknown) => error instanceof XfsError && error.code === code

test('a file, memory and a window of a larger device get the same bytes', () => {
  const size = 32 * MIB
  const path = join(tempDir(), 'image')
  mkfsFile(path, { ...fixed, imageSize: size })
  const memory = memoryDevice(size)
  mkfs(memory, fixed)
  const outer = memoryDevice(size + 3 * MIB)
  mkfs(window(outer, MIB, size), fixed)
  const expected = readFileSync(path)
  for (const [device, offset] of [
    [memory, 0],
    [outer, MIB],
  ] as const) {
    const bytes = Buffer.alloc(size)
    device.read(bytes, offset)
    assert.equal(bytes.equals(expected), true)
  }
  const around = Buffer.alloc(MIB)
  outer.read(around, 0)
  assert.equal(
    around.every((byte) => byte === 0),
    true,
  )
})

test('what is made opens, and every header and root passes the verifiers', () => {
  for (const options of [{}, { blocksize: 1024 }, { blocksize: 65536, size: 512 * MIB }, { sectsize: 4096 }]) {
    const device = memoryDevice(512 * MIB)
    const { geometry } = mkfs(device, options)
    const volume = Volume.open(device)
    for (let agno = 0; agno < geometry.agcount; agno++) {
      const agf = volume.agf(agno)
      const agi = volume.agi(agno)
      volume.agfl(agno)
      assert.ok(agf.view.getUint32(52) > 0)
      for (const [type, agbno] of [
        [blockTypes.bnobt, agf.view.getUint32(16)],
        [blockTypes.cntbt, agf.view.getUint32(20)],
        [blockTypes.rmapbt, agf.view.getUint32(24)],
        [blockTypes.refcountbt, agf.view.getUint32(88)],
        [blockTypes.inobt, agi.view.getUint32(20)],
        [blockTypes.finobt, agi.view.getUint32(328)],
      ] as const) {
        volume.block(type, agno, agbno)
      }
    }
    const first = geometry.fsbToDaddr(Math.floor(geometry.sb.rootino / geometry.inopblock))
    const buf = volume.read(blockTypes.inodes, first, geometry.blocksize)
    assert.equal(verify(blockTypes.inodes, buf.view, { geometry, daddr: first }), undefined)
  }
})

test('without fixed values, uuid, generations and times differ from run to run', () => {
  const superblocks = [0, 1].map(() => mkfs(memoryDevice(16 * MIB)).geometry.sb)
  assert.notEqual(superblocks[0]?.uuid, superblocks[1]?.uuid)
  const images = [0, 1].map(() => {
    const device = memoryDevice(16 * MIB)
    const { geometry } = mkfs(device, { uuid: UUID, time: { seconds: 1, nanoseconds: 0 } })
    const bytes = Buffer.alloc(geometry.inodesize * 4)
    device.read(bytes, geometry.sb.rootino * geometry.inodesize)
    return bytes
  })
  const gen = (image: number, inode: number): number => (images[image] as Buffer).readUInt32BE(512 * inode + 92)
  assert.equal(gen(0, 0), 0) // the root directory
  for (const inode of [1, 2, 3]) assert.notEqual(gen(0, inode), gen(1, inode))
})

test('the primary superblock comes last: a run that was stopped leaves no filesystem', () => {
  const size = 64 * MIB
  const before = memoryDevice(size)
  mkfs(before)
  const device = record(before)
  const old = memoryDevice(size)
  mkfs(old)
  mkfs(device, { agcount: 2 })
  const { events } = device
  for (let count = 1; count < events.length - 1; count++) {
    assert.equal(findSignature(deviceAfter(old, events, count)), undefined, `after ${count} of ${events.length} events`)
  }
  assert.equal(findSignature(deviceAfter(old, events, events.length))?.type, 'xfs')
})

test('old content does not shine through', () => {
  withTempDir((folder) => {
    const size = 64 * MIB
    const device = memoryDevice(size, random(3).bytes(MIB))
    for (let at = MIB; at < size; at += MIB) device.write(random(at).bytes(4096), at + 40960)
    mkfs(device, { blocksize: 1024 })
    mkfs(device)
    const bytes = Buffer.alloc(size)
    device.read(bytes, 0)
    const path = join(folder, 'image')
    writeFileSync(path, bytes)
    assert.equal(repairComplaints(path), undefined)
    // An existing file is replaced: nothing of its content is left, not even in unused blocks.
    writeFileSync(path, random(5).bytes(20 * MIB))
    mkfsFile(path, { ...fixed, existing: 'overwrite' })
    const clean = join(folder, 'clean')
    mkfsFile(clean, { ...fixed, imageSize: 20 * MIB })
    assert.equal(readFileSync(path).equals(readFileSync(clean)), true)
  })
})

test('what holds a filesystem or partitions is not overwritten unasked', () => {
  const path = join(tempDir(), 'image')
  mkfsFile(path, { imageSize: 32 * MIB })
  const before = readFileSync(path)
  assert.throws(() => mkfsFile(path), hasCode('EXIST'))
  assert.throws(() => mkfsFile(path, { imageSize: 64 * MIB }), /appears to contain an existing filesystem \(xfs\)/)
  assert.equal(readFileSync(path).equals(before), true)
  mkfsFile(path, { existing: 'overwrite', imageSize: 33 * MIB })
  assert.equal(statSync(path).size, 33 * MIB)

  const marks: readonly (readonly [type: string, at: number, magic: string])[] = [
    ['ext2', 0x438, '\x53\xef'],
    ['btrfs', 0x10040, '_BHRfS_M'],
    ['vfat', 0x52, 'FAT32   '],
    ['ntfs', 3, 'NTFS    '],
    ['swap', 4086, 'SWAPSPACE2'],
    ['swap', 65526, 'SWAPSPACE2'],
    ['swsuspend', 4086, 'S1SUSPEND'],
    ['crypto_LUKS', 0, 'LUKS\xba\xbe'],
    ['LVM2_member', 536, 'LVM2 001'],
    ['linux_raid_member', 16 * MIB - 65536, '\xfc\x4e\x2b\xa9'],
    ['linux_raid_member', 16 * MIB - 8192, '\xfc\x4e\x2b\xa9'],
    ['bfs', 0, '\xce\xfa\xad\x1b'],
    ['cramfs', 0, '\x45\x3d\xcd\x28'],
    ['romfs', 0, '-rom1fs-'],
    ['squashfs', 0, 'hsqs'],
    ['udf', 34 * 1024 + 1, 'NSR03'],
    ['iso9660', 0x8001, 'CD001'],
    ['reiserfs', 0x10034, 'ReIsEr2Fs'],
    ['ocfs2', 8192, 'OCFSV2'],
    ['hpfs', 8192, '\x49\xe8\x95\xf9'],
    ['ufs', 65536 + 0x55c, '\x19\x01\x54\x19'],
    ['VMFS_volume_member', MIB, '\x0d\xd0\x01\xc0'],
    ['apfs', 32, 'NXSB'],
    ['gpt', 512, 'EFI PART'],
    ['gpt', 16 * MIB - 512, 'EFI PART'],
    ['qcow2 disk image', 0, 'QFI\xfb'],
    ['gzip file', 0, '\x1f\x8b'],
  ]
  for (const [type, at, magic] of marks) {
    const device = memoryDevice(16 * MIB)
    device.write(Buffer.from(magic, 'latin1'), at)
    assert.equal(findSignature(device)?.type, type)
  }
  const partitioned = memoryDevice(16 * MIB)
  partitioned.write(Buffer.from([0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]), 446)
  partitioned.write(Buffer.from([0x55, 0xaa]), 510)
  assert.deepEqual(findSignature(partitioned), { kind: 'partition table', type: 'dos' })
  // A minix superblock: 2 bytes of magic, and maps that match the counts.
  const minix = memoryDevice(16 * MIB)
  const counts = Buffer.alloc(20)
  for (const [at, value] of [
    [0, 5472],
    [2, 16384],
    [4, 1],
    [6, 2],
    [8, 175],
    [16, 0x138f],
  ] as const)
    counts.writeUInt16LE(value, at)
  minix.write(counts, 1024)
  assert.deepEqual(findSignature(minix), { kind: 'filesystem', type: 'minix' })
  minix.write(Buffer.from([0, 0]), 1028)
  assert.equal(findSignature(minix), undefined)
  assert.equal(findSignature(memoryDevice(16 * MIB)), undefined)
  assert.equal(findSignature(memoryDevice(100)), undefined)
})

test('what is no XFS image is named', () => {
  const errorOf = (open: () => unknown): string => {
    try {
      open()
    } catch (error) {
      return (error as Error).message
    }
    return 'opened'
  }
  const named = (at: number, magic: string): string => {
    const device = memoryDevice(16 * MIB)
    device.write(Buffer.from(magic, 'latin1'), at)
    return errorOf(() => Volume.open(device))
  }
  assert.equal(named(0, 'QFI\xfb'), 'not an XFS image: it contains a qcow2 disk image')
  assert.equal(named(0x438, '\x53\xef'), 'not an XFS image: it contains an ext2 filesystem')
  assert.equal(named(0, '\x1f\x8b'), 'not an XFS image: it contains a gzip file')
  assert.equal(
    named(512, 'EFI PART'),
    'not an XFS image: it contains a gpt partition table; use --partition N to select a partition',
  )
  const entry = (start: number): string => `\0\0\0\0\x83\0\0\0\0${String.fromCharCode(start)}\0\0\0\x08\0\0`
  const disk = `${entry(8)}${entry(16)}${entry(24)}${'\0'.repeat(16)}\x55\xaa`
  const holding = (...starts: readonly number[]): string => {
    const device = memoryDevice(16 * MIB)
    device.write(Buffer.from(disk, 'latin1'), 446)
    for (const start of starts) device.write(Buffer.from('XFSB'), start * 256 * 512)
    return errorOf(() => Volume.open(device))
  }
  const table = 'not an XFS image: it contains a dos partition table'
  assert.equal(holding(), `${table}; no partition contains XFS`)
  assert.equal(holding(16), `${table}; partition 2 contains XFS: use --partition 2`)
  assert.equal(holding(8, 24), `${table}; partitions 1, 3 contain XFS: use --partition N to select one`)
  assert.equal(named(0, '\0'), 'not an XFS image: it contains only zeros')
  assert.match(named(0, 'none'), /superblock magic is 0x6e6f6e65/)
})

test('sizes: a new file, a larger one, a given one, one that is too small', () => {
  const folder = tempDir()
  const path = join(folder, 'image')
  const overwrite = { existing: 'overwrite' } as const
  assert.throws(() => mkfsFile(path), hasCode('NOENT'))
  assert.deepEqual(readdirSync(folder), [])
  mkfsFile(path, { size: 20 * MIB })
  assert.equal(statSync(path).size, 20 * MIB)
  truncateSync(path, 50 * MIB)
  assert.equal(mkfsFile(path, overwrite).geometry.sb.dblocks, (50 * MIB) / 4096)
  assert.equal(mkfsFile(path, { ...overwrite, size: 30 * MIB }).geometry.sb.dblocks, (30 * MIB) / 4096)
  assert.equal(statSync(path).size, 50 * MIB)
  mkfsFile(path, { ...overwrite, size: 30 * MIB, imageSize: 'needed' })
  assert.equal(statSync(path).size, 30 * MIB)
  assert.throws(() => mkfsFile(path, { ...overwrite, imageSize: 15 * MIB }), hasCode('INVAL'))
  assert.throws(
    () => mkfsFile(path, { ...overwrite, imageSize: 20 * MIB, size: 30 * MIB }),
    /too large, maximum is 5120/,
  )
  assert.equal(statSync(path).size, 30 * MIB) // refused before any change
  assert.throws(() => mkfs(memoryDevice(16 * MIB), { size: 32 * MIB }), hasCode('INVAL'))
  const planned = mkfsFile(join(folder, 'other'), { imageSize: 2 ** 50, action: 'plan' })
  assert.equal(planned.geometry.agcount, 1024) // the rest is too small for an AG
  assert.deepEqual(readdirSync(folder), ['image'])
})

test('invalid options of a program are refused', () => {
  const device = memoryDevice(16 * MIB)
  const cases: readonly MkfsOptions[] = [
    { agcount: 0 },
    { agcount: 1.5 },
    { agcount: Number.NaN },
    { size: -1 },
    { size: Number.POSITIVE_INFINITY },
    { blocksize: 4095 },
    { sectsize: 8192 },
    { inodesize: 512.5 },
    { maxpct: 101 },
    { logsize: Number.NaN },
    { logagno: 3 },
    { label: 'thirteen bytes' },
    { uuid: 'none' },
  ]
  for (const options of cases) assert.throws(() => mkfs(device, options), hasCode('INVAL'), JSON.stringify(options))
  assert.equal(findSignature(device), undefined)
})

test('sizes are read as mkfs.xfs reads them', () => {
  const cases: readonly (readonly [text: string, bytes: number])[] = [
    ['1g', 2 ** 30],
    ['1G', 2 ** 30],
    ['0x10', 16],
    ['010', 8],
    ['3s', 1536],
    ['2b', 8192],
    ['7k', 7168],
    ['5m', 5 * MIB],
    ['2t', 2 ** 41],
    ['1p', 2 ** 50],
  ]
  for (const [text, bytes] of cases) assert.equal(parseSize(text, '--size'), bytes)
  for (const text of ['', 'g', '1gb', '1.5g', '0x', '8e', '16e'])
    assert.throws(() => parseSize(text, '--size'), hasCode('INVAL'), text)
})

const sample: readonly (readonly [name: string, options: MkfsOptions])[] = [
  ['default', {}],
  ['1k blocks', { blocksize: 1024 }],
  ['64k blocks', { blocksize: 65536 }],
  ['one group', { size: 40 * MIB, agcount: 1 }],
  ['no reflink', { features: { reflink: false } }],
  ['no rmapbt', { features: { rmapbt: false } }],
  ['no finobt', { features: { finobt: false } }],
  ['no bigtime, no nrext64', { features: { bigtime: false, nrext64: false } }],
  ['4k sectors', { sectsize: 4096 }],
  ['2k inodes', { inodesize: 2048, label: 'a label' }],
]
for (const [name, options] of sample) {
  test(`xfs_repair and the kernel: ${name}`, () => {
    const path = join(tempDir(), 'image')
    mkfsFile(path, { imageSize: 400 * MIB, ...options })
    const check = (): void => {
      if (skip.newest) assert.equal(repairComplaints(path), undefined)
      else execFileSync(newest.repair, ['-n', '-f', '-o', 'force_geometry', path], { stdio: 'pipe' })
    }
    check()
    const content = random(1).bytes(100_000)
    // Without a kernel the files are written and read by us.
    if (skip.kernel) writeFiles(path, content)
    else
      mountImage(path, (folder) => {
        writeFileSync(join(folder, 'file'), content)
        execFileSync('cp', ['--reflink=auto', join(folder, 'file'), join(folder, 'copy')])
      })
    check()
    const volume = Volume.open(openFile(path, 'r'))
    const root = rootDirectory(volume)
    assert.deepEqual([...entries(root)].map(({ name }) => Buffer.from(name).toString()).sort(), ['copy', 'file'])
    assert.equal(Buffer.from(content).equals(readFile(resolve(volume, '/copy'))), true)
    volume.close()
    if (!skip.kernel)
      mountImage(path, (folder) => {
        assert.deepEqual(readdirSync(folder), ['copy', 'file'])
        assert.equal(Buffer.from(content).equals(readFileSync(join(folder, 'copy'))), true)
      })
  })
}

function writeFiles(path: string, content: Uint8Array): void {
  const volume = Volume.open(openFile(path, 'rw'), { write: true })
  const { ino: file } = createFile(volume, '/file', 0o644)
  const { ino: copy } = createFile(volume, '/copy', 0o644)
  writeFile(volume, file, 0, content)
  if (volume.features.has('reflink')) finish(reflink(volume, file, copy, { srcOffset: 0, dstOffset: 0, length: 0 }))
  else writeFile(volume, copy, 0, content)
  volume.close()
}

test('an older xfs_repair, if it supports the features', () => {
  const path = join(tempDir(), 'image')
  mkfsFile(path, { imageSize: 400 * MIB, features: { parent: false, exchange: false } })
  assert.equal(repairComplaints(path, distribution), undefined)
})

test('xfs_db reads label, uuid and counters', () => {
  const path = join(tempDir(), 'image')
  const { geometry } = mkfsFile(path, { imageSize: 400 * MIB, label: 'größe', uuid: UUID })
  const commands = ['sb 0', 'p uuid fdblocks icount ifree fname']
  const text = theirs(path, commands).out
  assert.equal(ours(path, commands).out, text)
  assert.match(text, new RegExp(`uuid = ${UUID}`))
  assert.match(text, new RegExp(`fdblocks = ${geometry.sb.fdblocks}`))
  assert.match(text, /icount = 64\nifree = 61/)
  assert.match(text, /fname = "gr\\303\\266\\303\\237e\\000/)
})

test('sectors of 4096 bytes of a block device are taken, as by mkfs.xfs', { skip: skip.kernel }, () => {
  withTempDir((folder) => {
    const environment = { ...process.env, SOURCE_DATE_EPOCH: '1700000000', DETERMINISTIC_SEED: '1' }
    const made = ['theirs', 'ours'].map((name) => {
      const file = join(folder, name)
      writeFileSync(file, '')
      truncateSync(file, 300 * MIB)
      const device = execFileSync('losetup', ['-b', '4096', '--show', '-f', file], { encoding: 'utf8' }).trim()
      try {
        if (name === 'theirs') {
          execFileSync(newest.mkfs, ['-q', '-K', '-m', `uuid=${UUID}`, device], { env: environment })
        } else {
          const options = { ...fixed, time: { seconds: 1700000000, nanoseconds: 0 } }
          assert.equal(mkfsFile(device, options).geometry.sectsize, 4096)
          assert.throws(
            () => mkfsFile(device, { ...options, sectsize: 512, existing: 'overwrite' }),
            /hw sector is 4096/,
          )
        }
      } finally {
        execFileSync('losetup', ['-d', device])
      }
      return readFileSync(file)
    })
    assert.equal(made[0]?.equals(made[1] as Buffer), true)
  })
})
