import { join } from 'node:path'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { extentCount } from '../../src/inode/inode.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage } from '../support/oracles.ts'

/** Files of an open volume, by path: operations common to the tests of sharing. */
export interface Files {
  readonly volume: Volume
  ino(path: string): number
  /** Creates the file if it does not exist. */
  write(path: string, offset: number, bytes: Uint8Array): void
  /** Write blocks of one value each: block 3 of `a` differs from every other block. */
  fill(path: string, from: number, blocks: number, seed?: number): void
  read(path: string): Buffer
  clone(src: string, dst: string, range?: { srcOffset?: number; dstOffset?: number; length?: number }): void
  extents(path: string): number
}

export function filesOf(volume: Volume): Files {
  const { blocksize } = volume.geometry
  const ino = (path: string): number => resolve(volume, path).ino
  const made = (path: string): number => {
    try {
      return ino(path)
    } catch {
      return createFile(volume, path, 0o644).ino
    }
  }
  const files: Files = {
    volume,
    ino,
    write: (path, offset, bytes) => void writeFile(volume, made(path), offset, bytes),
    fill(path, from, blocks, seed = 1) {
      const bytes = new Uint8Array(blocks * blocksize)
      for (let i = 0; i < blocks; i++) bytes.fill((seed + from + i) & 0xff, i * blocksize, (i + 1) * blocksize)
      files.write(path, from * blocksize, bytes)
    },
    read: (path) => Buffer.from(readFile(resolve(volume, path))),
    clone: (src, dst, { srcOffset = 0, dstOffset = 0, length = 0 } = {}) =>
      void finish(reflink(volume, ino(src), made(dst), { srcOffset, dstOffset, length })),
    extents: (path) => extentCount(resolve(volume, path), 'data'),
  }
  return files
}

/** A new image in `folder`. */
export function newImage(folder: string, name: string, size = '300m', args: readonly string[] = []): string {
  const image = join(folder, name)
  makeImage(image, size, args)
  return image
}

export const openVolume = (image: string): Volume => Volume.open(openFile(image, 'rw'), { write: true })

/** The image, with changes in memory only. */
export const overlaid = (image: string): Volume => Volume.open(overlay(openFile(image, 'r')), { write: true })
