import assert from 'node:assert/strict'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileChunks } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { deviceNumber, type Inode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile, mkdir } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { readSymlink } from '../../src/symlink.ts'
import type { CopyProblem } from '../../src/transfer/copyproblems.ts'
import { put } from '../../src/transfer/put.ts'
import { Volume } from '../../src/volume.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { withTempDir } from '../support/temp.ts'
import { END } from './archive.ts'
import { problemText } from './problems.ts'

/** An archive, and the expected result of putting it. */
export interface Case {
  readonly what: string
  readonly archive: readonly Uint8Array[]
  /** Without the blocks of zeros at its end. */
  readonly open?: true
  /** The new files: see `listing`. */
  readonly tree: Readonly<Record<string, string>>
  /** The messages, in order. */
  readonly messages?: readonly RegExp[]
  /**
   * The archive is not sound: only entries before it that were committed for a large file or a
   * repeated name are put.
   */
  readonly refused?: RegExp
}

const BEFORE = { old: 'old', olddir: '/', 'olddir/inside': 'inside' }

/**
 * Put each archive into its own directory of one image, and compare. At the end the image is
 * judged.
 */
export function putCases(cases: readonly Case[], options: MkfsOptions = {}): void {
  const device = memoryDevice(300 * 2 ** 20)
  mkfs(device, options)
  const volume = Volume.open(device, { write: true })
  withTempDir((folder) => {
    const archive = join(folder, 'archive')
    cases.forEach((one, i) => {
      const dir = `/${i}`
      mkdir(volume, dir, 0o755)
      mkdir(volume, `${dir}/olddir`, 0o755)
      for (const name of ['old', 'olddir/inside'])
        writeFile(volume, createFile(volume, `${dir}/${name}`, 0o644).ino, 0, Buffer.from(name.slice(-6)))
      writeFileSync(archive, Buffer.concat([...one.archive, one.open ? new Uint8Array(0) : END]))
      const { messages, refused } = putArchive(volume, archive, dir)
      const expected = { ...BEFORE, ...one.tree }
      assert.deepEqual(listing(resolve(volume, dir)), sorted(expected), one.what)
      assert.equal(messages.length, one.messages?.length ?? 0, `${one.what}\n${messages.join('\n')}`)
      messages.forEach((text, at) => {
        assert.match(text, one.messages?.[at] as RegExp, one.what)
      })
      assert.match(refused, one.refused ?? /^$/, one.what)
    })
    volume.close()
    const image = join(folder, 'image')
    writeImage(device, image)
    judge(image)
  })
}

/** Put an archive. @returns the messages, and why it was not read to its end */
export function putArchive(
  volume: Volume,
  archive: string,
  dir: string,
): { readonly messages: string[]; readonly refused: string } {
  const tar = openSync(archive, 'r')
  const messages: string[] = []
  const onProblem = (problem: CopyProblem): void => {
    messages.push(problemText(problem))
  }
  const source = { host: Buffer.from(archive), tar, dir: Buffer.from(dir), name: undefined }
  try {
    for (const _ of put(volume, [source], { onProblem }));
    return { messages, refused: '' }
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    return { messages, refused: error.message }
  } finally {
    closeSync(tar)
    volume.sync()
  }
}

const sorted = (names: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(names).sort(([a], [b]) => (a < b ? -1 : 1)))

/**
 * The contents of a directory, by path: `/` for a directory, the target of a symbolic link, the
 * content of a file and `=first` if it is the same file as an earlier one; then owner and
 * permissions if they are not the usual ones.
 */
export function listing(top: Inode): Record<string, string> {
  const inodes: Record<string, Inode> = {}
  for (const { path, inode } of walkTree(top)) if (path.length > 0) inodes[Buffer.from(path).toString('latin1')] = inode
  const firsts = new Map<number, string>()
  const lines = Object.keys(inodes)
    .sort()
    .map((name) => {
      const inode = inodes[name] as Inode
      const first = firsts.get(inode.ino)
      firsts.set(inode.ino, first ?? name)
      return [name, first === undefined ? describe(inode) : `${describe(inode)} =${first}`]
    })
  return Object.fromEntries(lines)
}

const USUAL = [0o644, 0o755, 0o777]

function describe(inode: Inode): string {
  const words = [contentOf(inode)]
  if (inode.uid !== 0 || inode.gid !== 0) words.push(`${inode.uid}:${inode.gid}`)
  const permissions = inode.mode & 0o7777
  if (!USUAL.includes(permissions)) words.push(permissions.toString(8))
  return words.join(' ')
}

function contentOf(inode: Inode): string {
  if (inode.isDirectory) return '/'
  if (inode.isSymlink) return `-> ${Buffer.from(readSymlink(inode)).toString('latin1')}`
  if (inode.isRegular) {
    if (inode.size > 100) return `${inode.size} bytes`
    const content = Buffer.alloc(Number(inode.size))
    for (const { offset, bytes } of fileChunks(inode)) if (bytes) content.set(bytes, Number(offset))
    return content.toString('latin1')
  }
  if (inode.type === FILE_TYPES.fifo) return 'fifo'
  const { major, minor } = deviceNumber(inode)
  return `${inode.type === FILE_TYPES.chr ? 'char' : 'block'} ${major},${minor}`
}
