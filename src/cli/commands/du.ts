import { type Inode, openInode } from '../../inode/inode.ts'
import { resolve } from '../../namespace/resolve.ts'
import { walkTree } from '../../namespace/tree.ts'
import { type TreeUsage, treeUsage } from '../../reflink/treeusage.ts'
import { type ImageArguments, imageOptions, imagePath, optionalCount } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { humanBytes } from '../human.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'
import { pathBelow, tryEachPath } from '../paths.ts'
import { drive } from '../progress.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths?: string[]
  readonly depth?: number
  readonly human?: boolean
}

const COLUMNS = [
  { name: 'referenced' }, { name: 'shared' }, { name: 'exclusive' }, { name: 'total' }, { name: 'freed' }, { name: 'inodes' }, { name: 'path', left: true },
] as const // biome-ignore format: a table

const command: Command<Arguments> = {
  command: 'du <image> [paths..]',
  describe: 'show the space of files and trees: referenced, shared, exclusive, and freed if removed',
  examples: [
    ['$0 du disk.img /var', 'bytes; freed: blocks without owners outside of the tree'],
    ['$0 du -H --depth 1 disk.img /', 'each directory at the top, with k, M, G'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, describe: 'files and directories in the image (default: /)' })
      .option('depth', {
        alias: 'd',
        type: 'string',
        requiresArg: true,
        coerce: optionalCount('--depth'),
        describe: 'also list directories up to this depth',
      })
      .option('human', { alias: ['h', 'H'], type: 'boolean', describe: 'print sizes with k, M, G' }) as never,
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, async (volume) => {
      const { blocksize } = volume.geometry
      let status = OK
      const rows: Row[] = []
      const tried = await tryEachPath({ out }, 'du', args.paths?.length ? args.paths : ['/'], async (path) => {
        const top = resolve(volume, imagePath(path), { follow: false })
        for (const { inode, shown } of placesOf(top, path, args.depth ?? 0)) {
          const usage = await drive(
            treeUsage(openInode(volume, inode.ino), (below, error) => {
              status = FAILED
              out.error(`xfskit du: ${pathBelow(shown, below)}: ${error.message}\n`)
            }),
          )
          rows.push(rowOf(usage, blocksize, shown, args.human === true && out.form === 'text'))
        }
      })
      out.records('du', COLUMNS, rows)
      return Math.max(status, tried.status)
    }),
}
export default command

/** The starting point, and directories down to a depth. */
function* placesOf(top: Inode, path: string, depth: number): Generator<{ inode: Inode; shown: string }> {
  for (const visit of walkTree(top, { sorted: true, maxDepth: depth })) {
    if (visit.depth > 0 && !visit.inode.isDirectory) continue
    yield { inode: visit.inode, shown: pathBelow(path, visit.path) }
  }
}

function rowOf(usage: TreeUsage, blocksize: number, path: string, human: boolean) {
  const bytes = (blocks: number): number | string => (human ? humanBytes(blocks * blocksize) : blocks * blocksize)
  return {
    referenced: bytes(usage.referenced),
    shared: bytes(usage.shared),
    exclusive: bytes(usage.exclusive),
    total: bytes(usage.blocks),
    freed: bytes(usage.freed),
    inodes: usage.inodes,
    path,
    ...(human ? {} : { size: usage.size }),
  }
}
