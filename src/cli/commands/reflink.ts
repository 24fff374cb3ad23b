import { XfsError } from '../../errors.ts'
import { createFile } from '../../file/namespace.ts'
import { resolve } from '../../file/path.ts'
import { reflink } from '../../reflink/reflink.ts'
import type { Volume } from '../../volume.ts'
import { imagePath } from '../arguments.ts'
import { batchCommand } from '../batch.ts'

/** The destination, made where it is not there. */
function destination(volume: Volume, path: string): number {
  try {
    return resolve(volume, imagePath(path)).ino
  } catch (error) {
    if (!(error instanceof XfsError && error.code === 'NOENT')) throw error
    return createFile(volume, imagePath(path), 0o644).ino
  }
}

export default batchCommand({
  name: 'reflink',
  describe: 'share blocks of one file with another: FICLONE, FICLONERANGE',
  examples: [
    ['$0 reflink disk.img /a /b', '/b becomes a copy of /a that shares all its blocks'],
    ['$0 reflink disk.img /a /b --src-offset 1m --dst-offset 0 --length 64k', 'one range'],
    ['$0 reflink disk.img --batch pairs.tsv', 'many: src, dst and, if not the whole file, three numbers a line'],
  ],
  lengthHelp: "bytes (default, and 0: to the source's end)",
  *run(volume, { src, dst, ...range }) {
    const source = resolve(volume, imagePath(src)).ino
    const result = yield* reflink(volume, source, destination(volume, dst), { length: 0, ...range })
    return { ok: true, ...result, text: `shared ${result.length} bytes in ${result.mapped} extents` }
  },
})
