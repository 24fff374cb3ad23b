import { XfsError } from '../../errors.ts'
import type { Inode } from '../../inode/inode.ts'
import { createFile, unlink } from '../../namespace/namespace.ts'
import type { RangeRequest } from '../../reflink/range.ts'
import { type CloneResult, checkNewClone, reflink } from '../../reflink/reflink.ts'
import { counted } from '../../util/counted.ts'
import type { Steps } from '../../util/progress.ts'
import type { Volume } from '../../volume.ts'
import { imagePath } from '../arguments.ts'
import { batchCommand, type Find } from '../batch.ts'

/** Clone into a new file; if that fails, the file is removed. */
function* cloneToNew(volume: Volume, source: Inode, path: Uint8Array, range: RangeRequest): Steps<CloneResult> {
  checkNewClone(volume, source, range)
  const { ino } = createFile(volume, path, 0o644)
  try {
    return yield* reflink(volume, source.ino, ino, range)
  } catch (error) {
    unlink(volume, path)
    throw error
  }
}

function exists(path: string, find: Find): Inode | undefined {
  try {
    return find(path)
  } catch (error) {
    if (error instanceof XfsError && error.code === 'NOENT') return undefined
    throw error
  }
}

export default batchCommand({
  name: 'reflink',
  describe: 'share blocks of one file with another (FICLONE, FICLONERANGE)',
  examples: [
    ['$0 reflink disk.img /a /b', '/b becomes a copy of /a that shares all its blocks'],
    ['$0 reflink disk.img /a /b --src-offset 1m --dst-offset 0 --length 64k', 'one range'],
    ['$0 reflink disk.img --batch pairs.tsv', 'many pairs, one per line: src, dst and optionally three numbers'],
  ],
  lengthHelp: "bytes (default, and 0: to the source's end)",
  *run(volume, { src, dst, ...range }, find) {
    const source = find(src)
    const request = { length: 0, ...range }
    const destination = exists(dst, find)
    const result = yield* destination
      ? reflink(volume, source.ino, destination.ino, request)
      : cloneToNew(volume, source, imagePath(dst), request)
    const what = `${counted(result.length, 'byte')} in ${counted(result.mapped, 'extent')}`
    return { ok: true, ...result, text: `shared ${what}`, wouldText: `would share ${what}` }
  },
})
