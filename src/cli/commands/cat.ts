import { XfsError } from '../../errors.ts'
import { capped, subtract } from '../../util/bytes.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import type { Output, Row } from '../output.ts'
import { reportFailure, tryEachPath } from '../paths.ts'

const ZEROS = new Uint8Array(2 ** 16)

const cat: Command<ImageArguments & { image: string; paths: string[] }> = {
  command: 'cat <image> <paths..>',
  describe: 'write the content of files to standard output',
  examples: [
    ['$0 cat disk.img /etc/passwd', ''],
    ['$0 cat --json disk.img /etc/passwd', 'data with offsets, in base64; holes are omitted'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' }),
  handler: (args, { out }) =>
    withImage({ out }, args.image, 'read', args, async (image) => {
      if (out.form !== 'text') return writeRecords(out, image, args.paths)
      const { status } = await tryEachPath({ out }, 'cat', args.paths, (path) => writeBytes(out, chunksOf(image, path)))
      return status
    }),
}
export default cat

const COLUMNS = [{ name: 'path' }, { name: 'offset' }, { name: 'length' }, { name: 'base64' }] as const

type Chunks = ReturnType<XfsImage['chunks']>

function writeBytes(out: Output, chunks: Chunks): void {
  for (const { bytes, length } of chunks) {
    if (bytes) out.bytes(bytes)
    else
      for (let done = 0; done < length && !out.closed; done += ZEROS.length)
        out.bytes(ZEROS.subarray(0, capped(subtract(length, done), ZEROS.length)))
    if (out.closed) return
  }
}

/** One stream for all files. */
function writeRecords(out: Output, image: XfsImage, paths: readonly string[]): number {
  let status = OK
  const pieces = function* () {
    for (const path of paths) {
      try {
        yield* piecesOf(path, chunksOf(image, path))
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        status = FAILED
        reportFailure(out, 'cat', path, error)
      }
    }
  }
  out.records('cat', COLUMNS, pieces())
  return status
}

function* piecesOf(path: string, chunks: Chunks): Generator<Row> {
  const shown = named('path', absolute(imagePath(path)))
  for (const { bytes, offset, length } of chunks)
    if (bytes) yield { ...shown, offset, length, base64: Buffer.from(bytes).toString('base64') }
}

/** @throws XfsError ISDIR, INVAL (not a regular file) … */
function chunksOf(image: XfsImage, path: string): Chunks {
  const file = imagePath(path)
  const stat = image.stat(file)
  if (stat.isDirectory()) throw new XfsError('ISDIR', `${path}: is a directory`, { path })
  if (!stat.isFile()) throw new XfsError('INVAL', `${path}: not a regular file`, { path })
  return image.chunks(file)
}
