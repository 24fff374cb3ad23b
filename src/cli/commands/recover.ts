import { type Recovered, recover as recoverImage } from '../../recovery/recover.ts'
import { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments } from '../arguments.ts'
import { type Command, DIRTY_LOG, OK } from '../command.ts'
import { running, withDevice } from '../image.ts'

const recover: Command<ImageArguments & { image: string }> = {
  command: 'recover <image>',
  describe: 'replay what a killed xfskit left in the log, and free what it left over',
  examples: [
    ['$0 recover disk.img', 'write what the log holds to its places; exit status 2: not recovered, or not all of it'],
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

/** What was done, a line each. */
export function report(recovered: Recovered, dryRun: boolean): string {
  const { transactions, blocks, inodes, cowBlocks, unmarked, refused } = recovered
  const would = dryRun ? 'would be ' : ''
  const lines: string[] = []
  if (transactions > 0) lines.push(`${transactions} transactions ${would}replayed: ${blocks} blocks`)
  if (inodes > 0) lines.push(`${inodes} unlinked inodes ${would}freed`)
  if (cowBlocks > 0) lines.push(`${cowBlocks} blocks held for copy-on-write ${would}freed`)
  if (unmarked) lines.push(`a check finds nothing: NEEDSREPAIR ${would}cleared`)
  if (refused !== undefined)
    lines.push(`not recovered${lines.length > 0 ? ' further' : ''}: ${refused}; run xfskit repair`)
  return lines.length === 0 ? 'the log is clean' : lines.join('\n')
}
