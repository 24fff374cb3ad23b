import { counted } from '../../util/counted.ts'
import { undo as undoChange } from '../../xfsimage/undo.ts'
import { hostPath, type ImageArguments, imageOptions } from '../arguments.ts'
import { type Command, OK } from '../command.ts'
import { changeOptionsOf, changing } from '../open.ts'

const undo: Command<ImageArguments & { image: string; file: string }> = {
  command: 'undo <image> <file>',
  describe: 'undo a repair: write the blocks of an undo file back',
  examples: [
    ['$0 repair --undo disk.undo disk.img', 'repair, and write an undo file before'],
    ['$0 undo disk.img disk.undo', 'undo it; refused if the image was changed since'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('file', { type: 'string', demandOption: true, describe: 'undo file' }),
  handler: async (args, { out }) => {
    const { image, file } = args
    const { bytes } = await changing(image, args, () =>
      undoChange({ path: hostPath(image) }, { path: hostPath(file) }, changeOptionsOf({ out }, image, args)),
    )
    out.document('undo', { image, file, bytes }, () => `${counted(bytes, 'byte')} written back`)
    return OK
  },
}
export default undo
