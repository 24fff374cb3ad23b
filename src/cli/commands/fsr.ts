import { XfsError } from '../../errors.ts'
import type { Inode } from '../../inode/inode.ts'
import { resolve } from '../../namespace/resolve.ts'
import { walkTree } from '../../namespace/tree.ts'
import { fsr, type SharedPolicy } from '../../reflink/fsr.ts'
import type { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK, type Session } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'
import { pathBelow } from '../paths.ts'
import { drive } from '../progress.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths?: string[]
  readonly keepShared?: boolean
  readonly unshare?: boolean
}

const COLUMNS = [
  { name: 'before' },
  { name: 'after' },
  { name: 'moved' },
  { name: 'path', left: true },
  { name: 'note', left: true },
] as const

/** Regular files at or below the paths; each inode once. */
function* filesOf(volume: Volume, paths: readonly string[]): Generator<{ inode: Inode; path: string }> {
  const seen = new Set<number>()
  for (const start of paths) {
    for (const { inode, path } of walkTree(resolve(volume, imagePath(start)))) {
      if (!inode.isRegular || seen.has(inode.ino)) continue
      seen.add(inode.ino)
      yield { inode, path: pathBelow(start, path) }
    }
  }
}

async function run(
  volume: Volume,
  paths: readonly string[],
  shared: SharedPolicy,
  { out }: Session,
): Promise<{ rows: readonly Row[]; status: number }> {
  const rows: Row[] = []
  let status = OK
  for (const { inode, path } of filesOf(volume, paths)) {
    try {
      const { skipped, ...result } = await drive(fsr(volume, inode.ino, { shared }))
      if (skipped || result.moved > 0)
        rows.push({ ...result, path, note: skipped === undefined ? '' : `left: ${skipped}` })
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      status = FAILED
      out.error(`xfskit fsr: ${path}: ${error.message}\n`)
    }
  }
  return { rows, status }
}

const command: Command<Arguments> = {
  command: 'fsr <image> [paths..]',
  describe: 'defragment files; files with shared blocks need --keep-shared or --unshare',
  unsupported: ['-V', '-d', '-f', '-g', '-m', '-p', '-t', '-v'],
  examples: [
    ['$0 fsr disk.img', 'all files; prints extents before and after, and blocks moved'],
    ['$0 fsr disk.img /var/lib/vm.raw --keep-shared', 'keep its blocks shared at the new place'],
    ['$0 fsr disk.img /var/lib/vm.raw --unshare', 'copy its shared blocks'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, describe: 'files and directories in the image (default: /)' })
      .option('keep-shared', { type: 'boolean', describe: 'move shared blocks for all their owners' })
      .option('unshare', { type: 'boolean', describe: 'copy shared blocks' })
      .conflicts('keep-shared', 'unshare'),
  handler: async (args, session) => {
    const shared = args.keepShared ? 'keep' : args.unshare ? 'unshare' : 'skip'
    const paths = args.paths?.length ? args.paths : ['/']
    const { rows, status } = await withVolume(session, args.image, 'write', args, (volume) =>
      run(volume, paths, shared, session),
    )
    session.out.records('fsr', COLUMNS, rows)
    return status
  },
}
export default command
