import { XfsError } from '../../errors.ts'
import { fileChunks } from '../../file/data.ts'
import { resolve } from '../../file/path.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'

const ZEROS = new Uint8Array(2 ** 16)

const cat: Command<ImageArguments & { image: string; paths: string[] }> = {
  command: 'cat <image> <paths..>',
  describe: 'write the content of files to standard output',
  examples: [['$0 cat disk.img /etc/passwd', '']],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' }),
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, (volume) => {
      for (const path of args.paths) {
        const inode = resolve(volume, imagePath(path))
        if (inode.isDirectory) throw new XfsError('ISDIR', `${path}: is a directory`, { path })
        if (!inode.isRegular) throw new XfsError('INVAL', `${path}: not a regular file`, { path })
        for (const { bytes, length } of fileChunks(inode)) {
          if (bytes) out.bytes(bytes)
          else
            for (let done = 0; done < length && !out.closed; done += ZEROS.length)
              out.bytes(ZEROS.subarray(0, Math.min(ZEROS.length, length - done)))
          if (out.closed) return
        }
      }
    }),
}
export default cat
