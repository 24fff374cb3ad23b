import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openFile } from '../../src/device/file.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import type { NewChild } from '../../src/namespace/newinodes.ts'
import { populate } from '../../src/namespace/populate.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { program } from '../support/cli.ts'
import { newest, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { tempDir } from '../support/temp.ts'
import { alternate, type Benchmark, type Program, timed, timedAll } from './harness.ts'

/**
 * Copying trees in and out, and long listings, compared with mkfs.xfs -p, and with the kernel,
 * which needs root: mount, cp -a, ls -lR.
 */
const FILES = 60_000
const LISTED = 500_000
const ROUNDS = 3
const xfskit = (...args: string[]): Program => ({ command: process.execPath, args: [program(), ...args] })
const shell = (script: string): Program => ({ command: 'bash', args: ['-euc', script] })

/** 15 files per directory, from a few bytes to 120 kB each, 700 MB. */
function makeTree(folder: string): void {
  const { int, pick } = random(1)
  const block = Buffer.from(random(2).bytes(2 ** 18))
  const directories = [folder]
  mkdirSync(folder, { recursive: true })
  while (directories.length < FILES / 15) {
    const parent = pick(directories)
    if (parent.length > folder.length + 80) continue
    const path = join(parent, `dir${directories.length}`)
    mkdirSync(path)
    directories.push(path)
  }
  for (let i = 0; i < FILES; i++) {
    const size = Math.floor(Math.exp((int(10_500) + 1200) / 1000))
    const at = int(block.length - size)
    const path = join(pick(directories), `file${i}${pick(['.c', '.h', '.txt', '.o'])}`)
    writeFileSync(path, block.subarray(at, at + size))
    if (i % 500 === 0) symlinkSync(`file${i}`, `${path}.link`)
  }
}

let tree: string | undefined

/** Created once per run. Reading it once brings it into the page cache. */
function theTree(): string {
  if (tree === undefined) {
    tree = join(tempDir(), 'tree')
    makeTree(tree)
  }
  return tree
}

function empty(image: string): void {
  rmSync(image, { force: true })
  writeFileSync(image, '')
  truncateSync(image, 4 * 2 ** 30)
}

const mkfs = (image: string): Program => ({ command: newest.mkfs, args: ['-q', '-f', image] })

const putBesideProtofile: Benchmark = () => {
  if (skip.newest) return undefined
  const folder = tempDir()
  const image = join(folder, 'image')
  const make = (programs: readonly Program[]) => () => {
    empty(image)
    spawnSync('sync')
    return timedAll(programs)
  }
  const runs = alternate(
    ROUNDS,
    make([mkfs(image), xfskit('put', image, `${theTree()}/.`, '/')]),
    make([{ command: newest.mkfs, args: ['-q', '-f', '-p', theTree(), image] }]),
  )
  rmSync(image)
  return { name: `mkfs.xfs and xfskit put / mkfs.xfs -p: ${FILES} files`, ...runs, aim: 1 }
}

const mounted = (image: string, script: string, options = ''): Program =>
  shell(`d=$(mktemp -d); mount -o loop${options} '${image}' $d; ${script}; umount $d; rmdir $d`)

const putBesideMount: Benchmark = () => {
  if (skip.kernel) return undefined
  const image = join(tempDir(), 'image')
  const make = (program: Program) => () => {
    empty(image)
    timed(mkfs(image))
    spawnSync('sync')
    return timed(program)
  }
  const runs = alternate(
    ROUNDS,
    make(xfskit('put', image, `${theTree()}/.`, '/')),
    make(mounted(image, `cp -a '${theTree()}/.' $d`)),
  )
  rmSync(image)
  return { name: `xfskit put / mount, cp -a, umount: ${FILES} files`, ...runs }
}

const getBesideMount: Benchmark = () => {
  if (skip.kernel) return undefined
  const folder = tempDir()
  const image = join(folder, 'image')
  empty(image)
  timed(mkfs(image))
  timed(xfskit('put', image, `${theTree()}/.`, '/'))
  const make = (program: Program) => () => {
    rmSync(join(folder, 'out'), { recursive: true, force: true })
    spawnSync('sync')
    return timed(program)
  }
  const out = join(folder, 'out')
  const runs = alternate(
    ROUNDS,
    make(xfskit('get', image, '/', out)),
    make(mounted(image, `cp -a $d/. '${out}'`, ',ro')),
  )
  rmSync(image)
  rmSync(out, { recursive: true, force: true })
  return { name: `xfskit get / mount, cp -a, umount: ${FILES} files`, ...runs }
}

/** Empty files, 100 in each directory. */
export function makeManyFiles(image: string, count: number): void {
  mkfsFile(image, { imageSize: 8 * 2 ** 30 })
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  const time = { seconds: 1_700_000_000, nanoseconds: 0 }
  const child = (name: string, mode: number): NewChild => ({
    name: Buffer.from(name),
    mode,
    uid: 1000,
    gid: 100,
    atime: time,
    mtime: time,
  })
  const top = { ino: rootDirectory(volume).ino }
  const arena = new Uint8Array(0)
  for (let done = 0; done < count; ) {
    withTransaction(volume, (tx) => {
      openInode(volume, top.ino, tx)
      const dirs = Array.from({ length: 20 }, (_, i) => child(`directory ${done / 100 + i}`, FILE_TYPES.dir | 0o755))
      const below = dirs.map((dir) => ({
        dir,
        children: Array.from({ length: 100 }, (_, i) =>
          child(`a file of some length ${i}.txt`, FILE_TYPES.reg | 0o644),
        ),
        arena,
        start: 0,
      }))
      populate(tx, [{ dir: top, children: dirs, arena, start: 0 }, ...below])
    })
    done += 2000
  }
  volume.close()
}

const list: Benchmark = () => {
  if (skip.kernel) return undefined
  const image = join(tempDir(), 'image')
  makeManyFiles(image, LISTED)
  const runs = alternate(
    ROUNDS,
    () => timed(xfskit('ls', '-lR', image, '/')),
    () => timed(mounted(image, 'ls -lR $d > /dev/null', ',ro')),
  )
  rmSync(image)
  return { name: `xfskit ls -lR / mount, ls -lR, umount: ${LISTED} files`, ...runs, aim: 1.5 }
}

export const files: readonly Benchmark[] = [putBesideProtofile, putBesideMount, getBesideMount, list]
