import { fileChunks } from '../../data/data.ts'
import { XfsError } from '../../errors.ts'
import type { Inode } from '../../inode/inode.ts'
import { resolve } from '../../namespace/resolve.ts'
import { capped, subtract } from '../../util/bytes.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Output } from '../output.ts'
import { tryEachPath } from '../paths.ts'

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
    withVolume({ out }, args.image, 'read', args, async (volume) => {
      const { status } = await tryEachPath({ out }, 'cat', args.paths, (path) => {
        const inode = resolve(volume, imagePath(path))
        if (inode.isDirectory) throw new XfsError('ISDIR', `${path}: is a directory`, { path })
        if (!inode.isRegular) throw new XfsError('INVAL', `${path}: not a regular file`, { path })
        if (out.form === 'text') writeBytes(out, inode)
        else
          out.records(
            [{ name: 'path' }, { name: 'offset' }, { name: 'length' }, { name: 'base64' }],
            pieces(path, inode),
          )
      })
      return status
    }),
}
export default cat

function writeBytes(out: Output, inode: Inode): void {
  for (const { bytes, length } of fileChunks(inode)) {
    if (bytes) out.bytes(bytes)
    else
      for (let done = 0; done < length && !out.closed; done += ZEROS.length)
        out.bytes(ZEROS.subarray(0, capped(subtract(length, done), ZEROS.length)))
    if (out.closed) return
  }
}

function* pieces(path: string, inode: Inode) {
  for (const { bytes, offset, length } of fileChunks(inode))
    if (bytes) yield { path, offset, length, base64: Buffer.from(bytes).toString('base64') }
}
