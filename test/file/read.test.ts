import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileChunks, readFile } from '../../src/data/data.ts'
import { openFile } from '../../src/device/file.ts'
import { deviceNumber, extentCount, forkFormat, type Inode, openInode } from '../../src/inode/inode.ts'
import { extents, findExtent, lastExtent } from '../../src/mapping/extents.ts'
import { Volume } from '../../src/volume.ts'
import { skip } from '../support/oracles.ts'
import {
  fill,
  joinExtents,
  type KernelFile,
  makeImage,
  manifest,
  scratch,
  sha256,
  skipKernel,
  tools,
} from './support.ts'

const script = `
mkdir d; echo hello > d/small; : > empty
head -c 3000000 /dev/urandom > big; chmod 6755 big; chown 1000:2000 big
truncate -s 100m holes; head -c 5000 /dev/urandom | dd of=holes bs=1 seek=12345678 conv=notrunc status=none
$XFS_IO -f -c 'falloc 0 1m' -c 'pwrite -S 7 200k 100k' -c 'falloc -k 2m 1m' prealloc
ln big link; ln -s /nowhere sym; mknod c c 240 70000; mknod b b 8 1; mkfifo p
touch -d '1910-05-06 07:08:09.123456789' old; touch -d '2037-05-06 07:08:09.987654321' new
touch -d '2100-01-01 00:00:00.5' late
head -c 8m /dev/urandom > frag
bs=$(stat -f -c %s .)
{ for i in $(seq 0 2 2500); do echo "fpunch $((i * bs)) $bs"; done; } | $XFS_IO frag
[ $bs = 1024 ] || truncate -s 9000000000000 far; echo x >> far
`

const variants: { name: string; size: string; args: string[]; old?: true; mount?: string }[] = [
  { name: 'newest defaults', size: '400m', args: [] },
  { name: '1k blocks', size: '400m', args: ['-b', 'size=1k'] },
  { name: '64k blocks', size: '1g', args: ['-b', 'size=64k'] },
  { name: '16k blocks, 2k inodes', size: '400m', args: ['-b', 'size=16k', '-i', 'size=2048'] },
  { name: 'no rmapbt, no reflink', size: '400m', args: ['-m', 'rmapbt=0,reflink=0'] },
  { name: 'old counters and times', size: '400m', args: ['-i', 'nrext64=0', '-m', 'bigtime=0'] },
  { name: '6.1 defaults', size: '400m', args: [], old: true },
]

for (const { name, size, args, old } of variants) {
  test(`read what the kernel wrote: ${name}`, { skip: skipKernel }, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, size, args, old ? tools.oldMkfs : tools.mkfs)
    fill(image, script)
    const files = manifest(image)
    const device = openFile(image, 'r')
    const volume = Volume.open(device)
    for (const file of files) compare(openInode(volume, file.ino), file)
    if (!name.startsWith('64k'))
      assert.ok(files.some((file) => file.path === '/frag' && forkFormat(openInode(volume, file.ino), 'data') === 3))
    volume.close()
  })
}

test('read a V4 image', { skip: skip.distribution }, (t) => {
  const directory = scratch(t)
  const content = randomBytes(3_000_001)
  writeFileSync(join(directory, 'content'), content)
  writeFileSync(
    join(directory, 'proto'),
    `boot\n0 0\nd--755 3 4\nfile -u-644 1000 2000 ${join(directory, 'content')}\nlink l--777 0 0 file\n$\n`,
  )
  for (const block of ['1k', '4k']) {
    const image = join(directory, `${block}.img`)
    makeImage(image, '320m', ['-m', 'crc=0', '-b', `size=${block}`, '-p', join(directory, 'proto')], tools.oldMkfs)
    const volume = Volume.open(openFile(image, 'r'))
    const root = openInode(volume, volume.geometry.sb.rootino)
    assert.equal(root.isDirectory, true)
    assert.deepEqual([root.mode, root.uid, root.gid, root.crtime], [0o40755, 3, 4, undefined])
    const file = openInode(volume, root.ino + 3)
    assert.deepEqual([file.mode, file.uid, file.gid, file.size], [0o106644 & ~0o2000, 1000, 2000, content.length])
    assert.deepEqual(Buffer.from(readFile(file)), content)
    assert.equal(Buffer.from(readFile(openInode(volume, root.ino + 4))).toString(), 'file')
    volume.close()
  }
})

function compare(inode: Inode, file: KernelFile): void {
  const { path } = file
  const nanos = (time: { seconds: number; nanoseconds: number }): bigint =>
    BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanoseconds)
  assert.equal(inode.mode, file.mode, path)
  assert.equal(inode.nlink, file.nlink, path)
  assert.equal(inode.uid, file.uid, path)
  assert.equal(inode.gid, file.gid, path)
  assert.equal(BigInt(inode.size), file.size, path)
  assert.equal(nanos(inode.mtime), file.mtime, path)
  assert.equal(nanos(inode.ctime), file.ctime, path)
  if (inode.crtime && file.birth > 0n) assert.equal(nanos(inode.crtime), file.birth, path)
  const { blocksize, fsbToDaddr } = inode.volume.geometry
  const perBlock = blocksize / 512
  assert.equal(BigInt(inode.nblocks * perBlock), file.blocks, path)
  if (inode.type === 0o020000 || inode.type === 0o060000) {
    const { major, minor } = deviceNumber(inode)
    assert.equal((BigInt(major) << 8n) | (BigInt(minor) & 0xffn) | ((BigInt(minor) & ~0xffn) << 12n), file.rdev, path)
  }
  if (!file.extents) return
  const ours = [...extents(inode, 'data')]
  assert.equal(ours.length, extentCount(inode, 'data'), path)
  const joined = joinExtents(
    ours.map((rec) => ({
      offset: rec.startoff * perBlock,
      length: rec.blockcount * perBlock,
      start: fsbToDaddr(rec.startblock),
      unwritten: rec.extentflag === 1,
    })),
  )
  assert.deepEqual(joined, file.extents, path)
  assert.deepEqual(lastExtent(inode, 'data'), ours.at(-1), path)
  const middle = ours[ours.length >> 1]
  if (middle) assert.deepEqual(findExtent(inode, 'data', middle.startoff), middle, path)
  if (file.hash !== undefined) {
    assert.equal(sha256(readFile(inode)), file.hash, path)
    const hash = createHash('sha256')
    for (const chunk of fileChunks(inode, 0, inode.size, 10000))
      hash.update(chunk.bytes ?? new Uint8Array(Number(chunk.length)))
    assert.equal(hash.digest('hex'), file.hash, path)
  }
}
