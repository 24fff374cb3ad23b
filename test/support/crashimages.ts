import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setXattr } from '../../src/attr/xattrs.ts'
import { readFile } from '../../src/data/data.ts'
import { fpunch } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { copyDevice, createFile as createHostFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, link, mkdir, symlink } from '../../src/namespace/namespace.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage, skip } from './oracles.ts'
import { random } from './random.ts'

/** The images for killed commands. They differ in properties that affect commits and the log. */
const MiB = 2 ** 20

const images = {
  plain: () => made(64 * MiB, {}),
  'small blocks': () => made(32 * MiB, { blocksize: 1024 }),
  smallest: () => made(16 * MiB, { blocksize: 1024 }),
  'large inodes': () => made(64 * MiB, { inodesize: 2048 }),
  'no rmapbt': () => made(32 * MiB, { blocksize: 1024, features: { rmapbt: false, reflink: false } }),
  fragmented: () => made(32 * MiB, { blocksize: 1024 }),
} as const satisfies Record<string, () => Device>

export type ImageName = keyof typeof images | 'log stripes'

const bases = new Map<ImageName, Device>()

/** The image before the command, in memory; it must not be written. */
export function baseImage(name: ImageName, folder: string): Device {
  const known = bases.get(name)
  if (known) return known
  const device = name === 'log stripes' ? withLogStripes(folder) : images[name]()
  fill(device)
  if (name === 'fragmented') addFragments(device)
  bases.set(name, device)
  return device
}

function made(size: number, options: Parameters<typeof mkfs>[1]): Device {
  const device = memoryDevice(size)
  mkfs(device, options)
  return device
}

/** Only mkfs.xfs makes a log with a stripe unit; without it the log has none. */
function withLogStripes(folder: string): Device {
  if (skip.newest) return made(64 * MiB, {})
  const file = join(folder, 'striped')
  makeImage(file, '64m', ['-l', 'version=2,su=32k'])
  return memoryDevice(64 * MiB, readFileSync(file))
}

/**
 * Fragmented files, shared and equal ones; a large file; a directory with blocks; attributes
 * inline, in a leaf, in remote blocks.
 */
function fill(device: Device): void {
  const volume = Volume.open(device, { write: true })
  const { blocksize } = volume.geometry
  const draw = random(1)
  const create = (path: string, content: Uint8Array): number => {
    const { ino } = createFile(volume, path, 0o644)
    if (content.length > 0) writeFile(volume, ino, 0, content)
    return ino
  }
  const many = create('/many', new Uint8Array(0))
  for (let i = 0; i < 300; i++) writeFile(volume, many, i * 2 * blocksize, draw.bytes(blocksize))
  if (volume.features.has('reflink')) {
    const twin = create('/twin', new Uint8Array(0))
    finish(reflink(volume, many, twin, { srcOffset: 0, dstOffset: 0, length: 0 }))
  } else create('/twin', readFile(openInode(volume, many)))
  create('/same', readFile(openInode(volume, many)))
  // Their blocks alternate.
  const mixed = [create('/mixed', new Uint8Array(0)), create('/other', new Uint8Array(0))]
  for (let i = 0; i < 60; i++) for (const ino of mixed) writeFile(volume, ino, i * blocksize, draw.bytes(blocksize))
  create('/large', draw.bytes(MiB))
  const small = create('/small', draw.bytes(1000))
  mkdir(volume, '/folder', 0o755)
  for (let i = 0; i < 60; i++) create(`/folder/a file with a name that takes room, number ${i}`, draw.bytes(i * 20))
  mkdir(volume, '/folder/deeper', 0o755)
  for (let i = 0; i < 10; i++) create(`/folder/deeper/${i}`, draw.bytes(3000))
  mkdir(volume, '/empty', 0o755)
  link(volume, small, '/folder/deeper/hard')
  symlink(volume, 'small', '/link')
  symlink(volume, 'x'.repeat(900), '/folder/long link')
  const attributes = create('/attributes', draw.bytes(100))
  const set = (ino: number, name: string, length: number): void =>
    setXattr(volume, ino, Buffer.from(name), draw.bytes(length))
  set(small, 'user.inline', 20)
  for (let i = 0; i < 30; i++) set(attributes, `user.leaf${i}`, 40)
  set(attributes, 'user.remote', 30_000)
  volume.sync()
}

/** A file of 3,000 extents. */
function addFragments(device: Device): void {
  const volume = Volume.open(device, { write: true })
  const { ino } = createFile(volume, '/fragments', 0o644)
  writeFile(volume, ino, 0, random(3).bytes(6000 * 1024))
  for (let i = 0; i < 3000; i++) fpunch(volume, ino, i * 2048, 1024)
  volume.sync()
}

/**
 * The files that commands copy: `tree` (a folder), `one`, `big`, and for long work `lots` (a folder
 * of 4,096 empty files) and `xattrs.tar`.
 */
export function makeHostFiles(folder: string, long: boolean): void {
  const draw = random(2)
  writeFileSync(join(folder, 'one'), draw.bytes(5000))
  writeFileSync(join(folder, 'value'), draw.bytes(60_000))
  writeFileSync(join(folder, 'big'), Buffer.alloc(6 * MiB, draw.bytes(4096 + 17)))
  for (const dir of ['tree', 'tree/folder', 'tree/folder/new', 'lots']) mkdirSync(join(folder, dir))
  for (let i = 0; i < 40; i++) writeFileSync(join(folder, 'tree', 'folder', `${i}`), draw.bytes(i * 900))
  for (let i = 0; i < 5; i++) writeFileSync(join(folder, 'tree', 'folder', 'new', `${i}`), draw.bytes(100_000))
  writeFileSync(join(folder, 'tree', 'small'), draw.bytes(2000))
  if (!long) return
  for (let i = 0; i < 4096; i++) writeFileSync(join(folder, 'lots', `an empty file ${i}`), '')
  writeFileSync(join(folder, 'xattrs.tar'), tarWithAttributes(170, 60_000))
}

/** Ten megabytes of attributes of small files. */
function tarWithAttributes(count: number, length: number): Buffer {
  const value = Buffer.alloc(length, 'value ')
  const parts: Buffer[] = []
  const add = (name: string, type: string, content: Buffer): void => {
    const header = Buffer.alloc(512)
    const octal = (number: number, digits: number): string => `${number.toString(8).padStart(digits, '0')}\0`
    header.write(name)
    header.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(content.length, 11) + octal(1e9, 11), 100)
    header.write(`        ${type}`, 148)
    header.write('ustar\0' + '00', 257)
    header.write(
      `${octal(
        header.reduce((sum, byte) => sum + byte, 0),
        6,
      )} `,
      148,
    )
    parts.push(header, content, Buffer.alloc((512 - (content.length % 512)) % 512))
  }
  const body = Buffer.concat([Buffer.from('SCHILY.xattr.user.large='), value, Buffer.from('\n')])
  // The length of a record includes its own digits.
  const record = Buffer.concat([Buffer.from(`${body.length + 6} `), body])
  for (let i = 0; i < count; i++) {
    add('pax', 'x', record)
    add(`tagged/file${i}`, '0', Buffer.from('x'))
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)])
}

/** Write the image to a new file of the host. */
export function writeImage(image: Device, file: string): void {
  const target = createHostFile(file, image.size)
  copyDevice(image, target)
  target.close()
}
