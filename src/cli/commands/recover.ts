import { recoverLog } from '../../log/recover.ts'
import { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments } from '../arguments.ts'
import type { Command } from '../command.ts'
import { running, withDevice } from '../image.ts'

const recover: Command<ImageArguments & { image: string }> = {
  command: 'recover <image>',
  describe: 'replay what a killed xfskit left in the log',
  examples: [
    ['$0 recover disk.img', 'write what the log holds to its places; a log of the kernel is refused (mount the image)'],
  ],
  builder: (yargs) =>
    changeOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file or block device',
    }),
  handler: async (args, session) => {
    const replayed = await withDevice(session, args.image, 'write', args, (device) => {
      const { geometry } = running(() => Volume.open(device, { needsRepair: true }), args.image)
      return recoverLog(device, geometry)
    })
    const { transactions, blocks } = replayed
    const dryRun = args.dryRun === true
    session.out.document('recover', { ...replayed, ...(dryRun && { dryRun }) }, () =>
      transactions === 0
        ? 'the log is clean'
        : `${transactions} transactions ${dryRun ? 'would be replayed' : 'replayed'}: ${blocks} blocks`,
    )
  },
}
export default recover
