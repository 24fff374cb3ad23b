import { XfsError } from '../../errors.ts'
import type { XfsFile } from '../../xfsimage/file.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK, type Session } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import { type PathResult, pathBelow, reportFailure } from '../paths.ts'
import { pause, withProgress } from '../progress.ts'

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

interface Found {
  readonly file: XfsFile
  /** As it is shown, and for JSON. */
  readonly path: string
  readonly entry: PathResult
}

/** Regular files at or below the paths; each inode once. */
function* filesOf(image: XfsImage, paths: readonly string[]): Generator<Found> {
  const seen = new Set<number>()
  for (const text of paths) {
    const start = imagePath(text)
    for (const file of image.walk(start, { follow: true })) {
      if (!file.isRegular || seen.has(file.ino)) continue
      seen.add(file.ino)
      yield { file, path: pathBelow(text, file.path), entry: named('path', absolute(start, file.path)) }
    }
  }
}

/** What was done to a file. */
type Result = Found & Awaited<ReturnType<XfsImage['defragment']>>

async function run(
  image: XfsImage,
  paths: readonly string[],
  shared: 'keep' | 'unshare' | 'skip',
  { out }: Session,
): Promise<{ results: readonly Result[]; failed: readonly PathResult[]; status: number }> {
  const results: Result[] = []
  const failed: PathResult[] = []
  for (const found of filesOf(image, paths)) {
    try {
      const result = await withProgress((options) => image.defragment(found.file, { shared, ...options }))
      if (result.skipped || result.moved > 0) results.push({ ...found, ...result })
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      failed.push({ ...found.entry, code: error.code, message: error.message })
      reportFailure(out, 'fsr', found.path, error)
    }
    await pause()
  }
  return { results, failed, status: failed.length > 0 ? FAILED : OK }
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
    const { results, failed, status } = await withImage(session, args.image, 'write', args, (image) =>
      run(image, paths, shared, session),
    )
    if (session.out.json) {
      const done = results.map(({ entry, before, after, moved, skipped }) => ({
        ...entry,
        before,
        after,
        moved,
        ...(skipped && { skipped }),
      }))
      session.out.document('fsr', { done, failed, ...(args.dryRun === true && { dryRun: true }) }, () => '')
    } else {
      const rows = results.map(({ before, after, moved, path, skipped }) => {
        const note = skipped === undefined ? '' : `left: ${skipped}`
        return { before, after, moved, path, note }
      })
      session.out.records('fsr', COLUMNS, rows)
    }
    return status
  },
}
export default command
