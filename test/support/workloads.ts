import { join } from 'node:path'
import type { ImageName } from './crashimages.ts'

/** Every command that changes an image, with work from one inode to more than the log can hold. */
export interface Workload {
  readonly name: string
  readonly image: ImageName
  /** The recorded and killed command lines, one process after the other. */
  readonly commands: readonly CommandLine[]
  /** Command lines that are run before, and not killed. */
  readonly prepare?: readonly CommandLine[]
  /** There is one state before, one after, and none between. */
  readonly atomic?: true
  /** Too much work for a short run. */
  readonly long?: true
  /** There is no filesystem before: the command makes it. */
  readonly makes?: true
  /** The image is not sound before, and the command bypasses the log: repair follows recovery. */
  readonly marks?: true
}

/**
 * Words; IMAGE is the image, `host:NAME` a path below the folder of the host that `makeHostFiles`
 * fills.
 */
export type CommandLine = string | readonly string[]

export const IMAGE = 'IMAGE'

/** The words of a command line. */
export function wordsOf(line: CommandLine, image: string, host: string): string[] {
  const words = typeof line === 'string' ? line.split(' ') : line
  return words.map((word) =>
    word === IMAGE ? image : word.startsWith('host:') ? join(host, word.slice('host:'.length)) : word,
  )
}

interface Options extends Partial<Omit<Workload, 'name' | 'commands'>> {}

const on = (name: string, options: Options, ...commands: readonly CommandLine[]): Workload => ({
  image: 'plain',
  ...options,
  name,
  commands,
})

const io = (path: string, ...commands: readonly string[]): CommandLine => [
  'io', IMAGE, path, ...commands.flatMap((command) => ['-c', command]),
] // biome-ignore format: one line

const SMALL = { image: 'small blocks' } as const
const SMALLEST = { image: 'smallest' } as const
const LARGE_INODES = { image: 'large inodes' } as const
const OLD = { image: 'no rmapbt' } as const
const STRIPES = { image: 'log stripes' } as const

export const workloads: readonly Workload[] = [
  // Data and trees from the host.
  on('put: a file', {}, 'put IMAGE host:one /'),
  on('put: a file over another', SMALL, 'put IMAGE host:one /many'),
  on('put: a large file', SMALL, 'put IMAGE host:big /'),
  on('put: a tree', STRIPES, 'put IMAGE host:tree /'),
  on('put: a tree, small blocks', SMALLEST, 'put IMAGE host:tree /folder'),
  on('put: more inodes than the log holds', { ...LARGE_INODES, long: true }, 'put IMAGE host:lots /'),
  on('put: more attributes than the log holds', { long: true }, 'put IMAGE host:xattrs.tar /'),
  // In place, as on a device: a separate file only gets its name when it is complete.
  on('mkfs --from', { makes: true }, 'mkfs -f -q --offset 0 --size 64m --from host:tree IMAGE'),
  on('mkfs', { makes: true }, 'mkfs -f -q --size 32m -b size=1k IMAGE'),
  // Bytes of files.
  on('write: a new file', {}, 'write IMAGE /new host:one'),
  on('write: in place', SMALL, 'write IMAGE /large host:big --offset 4000'),
  on('write: at the end', OLD, 'write IMAGE /small host:big -a'),
  on('write: into shared blocks', SMALL, 'write IMAGE /twin host:value --offset 12345'),
  on('write: shorter than before', STRIPES, 'write IMAGE /large host:one -t'),
  on('truncate: to nothing', {}, 'truncate IMAGE 0 /large'),
  on('truncate: a file of many extents', SMALL, 'truncate IMAGE 100k /many'),
  on('truncate: thousands of extents', { image: 'fragmented', long: true }, 'truncate IMAGE 100k /fragments'),
  on('truncate: longer', OLD, 'truncate IMAGE +1m /small /many'),
  on('io: falloc', SMALL, io('/small', 'falloc 0 3m', 'falloc -k 4m 1m')),
  on('io: fpunch', SMALL, io('/many', 'fpunch 10k 300k')),
  on('io: fzero', {}, io('/large', 'fzero 100k 500k', 'fzero 700000 5000')),
  on('io: fcollapse', SMALL, io('/many', 'fcollapse 8k 64k')),
  on('io: finsert', SMALL, io('/many', 'finsert 16k 64k')),
  on('io: copy_range', {}, io('/large', 'copy_range -s 0 -d 2m -l 200k /large')),
  // No byte is changed twice between two flushes.
  on('io: many commands', STRIPES, io('/large', 'pwrite -q 0 300k', 'fpunch 400k 64k', 'pwrite -q -S 7 2m 100k', 'fzero 512k 64k', 'truncate 1500000', 'fsync', 'pwrite -q -S 9 1m 64k')), // biome-ignore format: one line
  // Names.
  on('mkdir', { atomic: true }, 'mkdir IMAGE /new'),
  on('mkdir -p', SMALL, 'mkdir -p IMAGE /new/a/b/c /folder/x/y'),
  on('rm: a file', {}, 'rm IMAGE /large'),
  on('rm: a file of many extents', SMALL, 'rm IMAGE /same'),
  on('rm: thousands of extents', { image: 'fragmented', long: true }, 'rm IMAGE /fragments'),
  on('rm: thousands of shared extents', { image: 'fragmented', long: true, prepare: ['reflink IMAGE /fragments /clone'] }, 'rm IMAGE /clone'), // biome-ignore format: one line
  on('rm: a file that shares blocks', SMALL, 'rm IMAGE /twin /many'),
  on('rm: attributes in blocks of their own', STRIPES, 'rm IMAGE /attributes /link'),
  on('rm -r: a tree', SMALL, 'rm -r IMAGE /folder /many'),
  on('rm -r: more inodes than the log holds', { ...LARGE_INODES, long: true, prepare: ['put IMAGE host:lots /'] }, 'rm -r IMAGE /lots /folder'), // biome-ignore format: one line
  on('mv: a new name', { atomic: true }, 'mv IMAGE /small /renamed'),
  on('mv: over a file', SMALL, 'mv IMAGE /small /same'),
  on('mv: into another directory', { atomic: true }, 'mv IMAGE /folder/deeper /empty'),
  on('mv: many', STRIPES, 'mv IMAGE /many /twin /same /large /folder'),
  on('mv --exchange', { atomic: true }, 'mv --exchange IMAGE /small /folder'),
  on('ln', { atomic: true }, 'ln IMAGE /large /folder/again'),
  on('ln -f', SMALL, 'ln -f IMAGE /large /same'),
  on('ln -s', { atomic: true }, 'ln -s IMAGE small /symlink'),
  on('ln -s: a long target', { ...SMALL, atomic: true }, ['ln', '-s', IMAGE, 'y'.repeat(1000), '/symlink']),
  on('mknod', { atomic: true }, 'mknod IMAGE /null c 1 3'),
  // Inodes.
  on('chmod', { atomic: true }, 'chmod IMAGE 0600 /small'),
  on('chmod -R', SMALL, 'chmod -R IMAGE 0700 /folder'),
  on('chown -R', STRIPES, 'chown -R IMAGE 12:34 /folder'),
  on('touch', OLD, 'touch IMAGE /small /new file'),
  on('chattr', { atomic: true }, 'chattr IMAGE +di /small'),
  on('chattr -R', SMALL, 'chattr -R IMAGE +dA --projid 42 /folder'),
  on('xattr: set, inline', { atomic: true }, 'xattr set IMAGE /small user.b value'),
  on('xattr: set, to a leaf', SMALL, 'xattr set IMAGE /small user.c --file host:one'),
  on('xattr: set, in blocks of its own', {}, 'xattr set IMAGE /attributes user.large --file host:value'),
  on('xattr: set again, in blocks of its own', STRIPES, 'xattr set IMAGE /attributes user.remote --file host:value'),
  on('xattr: remove, inline', { atomic: true }, 'xattr remove IMAGE /small user.inline'),
  on('xattr: remove, of a leaf', SMALL, 'xattr remove IMAGE /attributes user.leaf7'),
  on('xattr: remove, in blocks of its own', SMALL, 'xattr remove IMAGE /attributes user.remote'),
  // Shared blocks.
  on('reflink', SMALL, 'reflink IMAGE /many /third'),
  on('reflink: over a file', SMALL, 'reflink IMAGE /many /large'),
  on('reflink: a range', {}, 'reflink IMAGE /large /many --src-offset 64k --dst-offset 128k --length 512k'),
  on('reflink: thousands of extents', { image: 'fragmented', long: true }, 'reflink IMAGE /fragments /large'),
  on('dedupe', SMALL, 'dedupe IMAGE /many /same'),
  on('unshare', SMALL, 'unshare IMAGE /twin'),
  on('unshare: thousands of extents', { image: 'fragmented', long: true, prepare: ['reflink IMAGE /fragments /clone'] }, 'unshare IMAGE /clone'), // biome-ignore format: one line
  on('fsr', OLD, 'fsr IMAGE /mixed'),
  on('fsr --keep-shared', { ...SMALL, prepare: ['reflink IMAGE /mixed /mixed2'] }, 'fsr --keep-shared IMAGE /mixed'),
  on('fsr --unshare', SMALL, 'fsr --unshare IMAGE /twin'),
  // Repair.
  on('repair', { ...SMALL, marks: true, prepare: [damage('agf 1', 'freeblks'), damage('agi 0', 'count')] }, 'repair IMAGE'), // biome-ignore format: one line
]

/** Damage one field, which repair derives. */
function damage(place: string, field: string): CommandLine {
  return ['db', '-x', IMAGE, '-c', place, '-c', `write ${field} 77`]
}
