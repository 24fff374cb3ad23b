import { describe } from '../../check/findings.ts'
import type { Device } from '../../device/device.ts'
import { refuseMounted } from '../../device/inuse.ts'
import { overlay } from '../../device/overlay.ts'
import { logState } from '../../log/ring.ts'
import { recover } from '../../recovery/recover.ts'
import { actions } from '../../repair/plan.ts'
import { isWrong, type RepairResult, repair as repairImage } from '../../repair/repair.ts'
import { counted } from '../../util/counted.ts'
import { Volume } from '../../volume.ts'
import { changeOptions, hostPath, type ImageArguments, parseCount } from '../arguments.ts'
import { type Command, FAILED, OK, UsageError } from '../command.ts'
import { running, withDevice } from '../image.ts'
import type { Output } from '../output.ts'

/** Problems were repaired (with -e, as xfs_repair), or only some of them (with --partial). */
const CHANGED = 4

/** Suboptions of xfs_repair's -o, accepted without effect. */
const SUBOPTIONS: Readonly<Record<string, 'flag' | 'number'>> = {
  bhash: 'number', ihash: 'number', ag_stride: 'number', phase2_threads: 'number', force_geometry: 'flag', assume_xfs: 'flag', noquota: 'flag',
  debug_bload_leaf_slack: 'number', debug_bload_node_slack: 'number',
} // biome-ignore format: pairs

interface Arguments extends ImageArguments {
  readonly image: string
  readonly exitStatus?: boolean
  readonly partial?: boolean
  readonly o?: readonly string[]
  readonly m?: string
  readonly t?: string
}

const repair: Command<Arguments> = {
  command: 'repair <image>',
  describe: 'repair btrees, AGFL and counters from inodes and files, and extents from rmapbt',
  examples: [
    ['$0 repair -n disk.img', 'print what would be done; exit status 1 if there are problems'],
    ['$0 repair disk.img', 'repair if everything can be repaired; with -e exit status 4 if there were problems'],
    ['$0 repair --partial disk.img', 'repair what can be repaired; exit status 4 if problems are left'],
  ],
  usageStatus: FAILED,
  unsupported: ['-L', '-V', '-c', '-d', '-l', '-r'],
  builder: (yargs) =>
    changeOptions(yargs, { short: false })
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .alias('n', 'dry-run')
      .option('exit-status', { alias: 'e', type: 'boolean', describe: 'exit status 4 if problems were repaired' })
      .option('partial', { type: 'boolean', describe: 'repair even if some problems cannot be repaired' })
      .conflicts('exit-status', 'dry-run')
      .option('o', {
        type: 'string',
        array: true,
        requiresArg: true,
        describe: `accepted for xfs_repair, without effect: ${Object.keys(SUBOPTIONS).join(', ')}`,
      })
      .option('m', { type: 'string', requiresArg: true, describe: 'without effect: memory in MiB' })
      .option('t', { type: 'string', requiresArg: true, describe: 'without effect: seconds between reports' })
      .option('v', { type: 'boolean', describe: 'without effect' })
      .option('P', { type: 'boolean', describe: 'without effect' })
      .option('f', { type: 'boolean', describe: 'without effect: the image is a file' }),
  handler: async (args, { out }) => {
    for (const words of args.o ?? []) for (const word of words.split(',')) requireSuboption(word)
    for (const letter of ['m', 't'] as const) {
      const value = args[letter]
      if (value !== undefined) parseCount(value, `-${letter}`)
    }
    const dryRun = args.dryRun === true
    if (dryRun) refuseMounted(hostPath(args.image), { readOnly: false })
    const { result, status } = await withDevice({ out }, args.image, dryRun ? 'read' : 'write', args, (device) => {
      const target = dryRun ? overlay(device) : device
      replayLog(args.image, target, out, dryRun)
      const result = repairImage(target, { dryRun, partial: args.partial === true })
      return { result, status: statusOf(result, args) }
    })
    printRepair(out, result, dryRun)
    return status
  },
}
export default repair

/** @throws UsageError */
function requireSuboption(word: string): void {
  const [, name = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? []
  const kind = Object.hasOwn(SUBOPTIONS, name) ? SUBOPTIONS[name] : undefined
  if (kind === undefined) throw new UsageError(`unknown option -o ${name}`)
  if (kind === 'number' && value === undefined) throw new UsageError(`-o ${name} needs a value`)
  if (kind === 'number' && value !== undefined) parseCount(value, `-o ${name}`)
  if (kind === 'flag' && value !== undefined) throw new UsageError(`-o ${name} takes no value`)
}

function statusOf({ before, after, changed, declined }: RepairResult, { dryRun, exitStatus }: Arguments): number {
  const refused = declined.length > 0
  if (dryRun === true) return isWrong(before) || refused ? FAILED : OK
  if (isWrong(after) || refused) return changed ? CHANGED : FAILED
  return exitStatus === true && isWrong(before) ? CHANGED : OK
}

/** Replay a log that xfskit wrote. Only the kernel can replay its own logs. */
function replayLog(image: string, device: Device, out: Output, dryRun: boolean): void {
  const volume = running(() => Volume.open(device, { needsRepair: true }), image)
  if (logState(volume).clean) return
  const { blocks } = recover(device)
  out.error(`xfskit repair: ${image}: the log ${dryRun ? 'would be' : 'was'} replayed: ${counted(blocks, 'block')}\n`)
}

function printRepair(out: Output, result: RepairResult, dryRun: boolean): void {
  const { before, after, changed, declined } = result
  const found = listed(before)
  const left = listed(after)
  const { geometry } = before.observation.inodes
  const log =
    result.log === undefined ? [] : [`format the log at cycle ${result.log}, past the highest LSN of metadata`]
  const steps = [...log, ...result.plans.flatMap((plan) => actions(geometry, plan)), ...freedLeftovers(result)]
  const value = { dryRun, changed, found, actions: steps, left: dryRun ? [] : left, declined }
  out.document('repair', value, () => {
    const lines = found.map(({ id, message }) => `${message}  [${id}]`)
    for (const [id, count] of before.findings.omitted) lines.push(`and ${count} more  [${id}]`)
    for (const step of steps) lines.push(`${dryRun ? 'would ' : ''}${step}`)
    if (!dryRun && left.length > 0) lines.push('left:', ...left.map(({ id, message }) => `  ${message}  [${id}]`))
    if (declined.length > 0)
      lines.push('what depends on this is uncertain, and not repaired:', ...declined.map((why) => `  ${why}`))
    if (found.length + declined.length === 0) lines.push('no inconsistencies')
    else if (!changed) lines.push('nothing was written')
    else if (left.length === 0) lines.push('repaired; a second check found no problems')
    return lines.join('\n')
  })
}

function freedLeftovers({ leftovers }: RepairResult): string[] {
  if (!leftovers) return []
  const { inodes, cowBlocks } = leftovers
  const steps: string[] = []
  if (inodes > 0) steps.push(`free ${counted(inodes, 'unlinked inode')}`)
  if (cowBlocks > 0) steps.push(`free ${counted(cowBlocks, 'CoW staging block')}`)
  return steps
}

function listed({ findings }: RepairResult['after']): { id: string; message: string; facts: object }[] {
  return findings.list.map((finding) => ({ id: finding.id, message: describe(finding), facts: finding.facts }))
}
