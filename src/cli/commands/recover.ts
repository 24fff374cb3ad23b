import { type Recovered, recover as recoverImage } from '../../recovery/recover.ts'
import { counted } from '../../util/counted.ts'
import { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments } from '../arguments.ts'
import { type Command, DIRTY_LOG, OK } from '../command.ts'
import { running, withDevice } from '../image.ts'

const recover: Command<ImageArguments & { image: string }> = {
  command: 'recover <image>',
  describe: 'replay the log of an interrupted xfskit, free unlinked inodes and CoW leftovers',
  examples: [
    ['$0 recover disk.img', 'write the changes in the log to their places; exit status 2: not or not fully recovered'],
  ],
  builder: (yargs) =>
    changeOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file or block device',
    }),
  handler: async (args, session) => {
    const recovered = await withDevice(session, args.image, 'write', args, (device) => {
      running(() => Volume.open(device, { needsRepair: true }), args.image)
      return recoverImage(device)
    })
    const dryRun = args.dryRun === true
    session.out.document('recover', { ...recovered, ...(dryRun && { dryRun }) }, () => report(recovered, dryRun))
    return recovered.refused === undefined ? OK : DIRTY_LOG
  },
}
export default recover

/** The steps that were done, one line each. */
export function report(recovered: Recovered, dryRun: boolean): string {
  const { transactions, blocks, inodes, cowBlocks, unmarked, refused } = recovered
  const would = dryRun ? 'would be ' : ''
  const lines: string[] = []
  if (transactions > 0)
    lines.push(`${counted(transactions, 'transaction')} ${would}replayed: ${counted(blocks, 'block')}`)
  if (inodes > 0) lines.push(`${counted(inodes, 'unlinked inode')} ${would}freed`)
  if (cowBlocks > 0) lines.push(`${counted(cowBlocks, 'CoW staging block')} ${would}freed`)
  if (unmarked) lines.push(`a check found no problems: NEEDSREPAIR ${would}cleared`)
  if (refused !== undefined)
    lines.push(`not recovered${lines.length > 0 ? ' further' : ''}: ${refused}; run xfskit repair`)
  return lines.length === 0 ? 'the log is clean' : lines.join('\n')
}
