import { closeSync, openSync, readFileSync } from 'node:fs'
import { withoutNative } from '../../device/native.ts'
import { pinnedTime } from '../../format/time.ts'
import { type OwnerRule, OwnerRules, pathPattern } from '../../transfer/ownerrules.ts'
import { putPlaces } from '../../transfer/places.ts'
import { put } from '../../transfer/put.ts'
import type { PutName } from '../../transfer/putlog.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath } from '../arguments.ts'
import { CannotRun, type Command, UsageError } from '../command.ts'
import { withVolume } from '../image.ts'
import { named } from '../json.ts'
import { parseMode, parseOwner } from '../paths.ts'
import { drive } from '../progress.ts'
import { isArchive, placed, problemReporter, reportTransfer, warnLacking, withStatus } from '../transfer.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly owner?: string
  readonly mode?: string
  readonly map?: string
  readonly xattrs?: boolean
  readonly sparse?: boolean
  readonly oneFileSystem?: boolean
  readonly tar?: boolean
}

const command: Command<Arguments> = {
  command: 'put <image> <paths..>',
  describe: 'copy files and trees into the image, with all attributes',
  plan: ({ paths, map, oneFileSystem = false }) => ({
    paths: [...paths.slice(0, -1), ...(map === undefined ? [] : [map])],
    oneFileSystem,
  }),
  examples: [
    ['$0 put disk.img rootfs/. /', 'the contents of rootfs into the root directory'],
    ['$0 put disk.img motd issue /etc', 'files into a directory'],
    ['$0 put disk.img rootfs.tar.gz /', 'the contents of an archive; - for standard input'],
    [
      '$0 put disk.img --owner 0:0 --mode u=rwX,go=rX rootfs/. /',
      'set owner and permissions, for users other than root',
    ],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'files of the host, then the destination in the image',
      })
      .option('tar', {
        type: 'boolean',
        describe: 'sources are tar archives (so are names that end in .tar, .tar.gz or .tgz, and -; --no-tar: files)',
      })
      .option('owner', { type: 'string', requiresArg: true, describe: 'set the owner of everything to UID:GID' })
      .option('mode', {
        type: 'string',
        requiresArg: true,
        describe: 'permissions of everything: octal, or like u=rwX,go=rX',
      })
      .option('map', {
        type: 'string',
        requiresArg: true,
        describe: 'a file of rules, one per line: PATTERN UID:GID MODE (-: unchanged)',
      })
      .option('xattrs', {
        type: 'boolean',
        default: true,
        describe: 'extended attributes and access control lists; --no-xattrs: none',
      })
      .option('sparse', { type: 'boolean', describe: 'make holes of blocks of zeros' })
      .option('one-file-system', { type: 'boolean', describe: 'do not descend into other filesystems' }) as never,
  handler: async (args, session) => {
    const rules = mappingRules(args)
    const sources = args.paths.slice(0, -1)
    const target = args.paths.at(-1)
    if (target === undefined || sources.length === 0)
      throw new UsageError('put needs files of the host and a destination')
    if (args.xattrs !== false) warnLacking(session, 'put', withoutNative())
    const names: object[] = []
    const onPut = ({ path, ...rest }: PutName): void => {
      names.push({ ...named('path', path), ...rest })
    }
    const result = await withVolume(session, args.image, 'write', args, async (volume) => {
      const opened: { host: Buffer; tar?: number }[] = []
      try {
        for (const source of sources) opened.push(openSource(source, args.tar))
        const places = await placed(() => putPlaces(volume, opened, imagePath(target)))
        const steps = put(volume, places, {
          atime: pinnedTime(process.env),
          mapping: new OwnerRules(rules),
          xattrs: args.xattrs !== false,
          sparse: args.sparse === true,
          oneFileSystem: args.oneFileSystem === true,
          onProblem: problemReporter(session, 'put'),
          ...(session.out.json && { onPut }),
        })
        return withStatus(await drive(steps))
      } finally {
        for (const { tar = 0 } of opened) if (tar > 0) closeSync(tar)
      }
    })
    return reportTransfer(session, 'put', result, { dryRun: args.dryRun === true, names })
  },
}
export default command

/** A file of the host, or an open archive. */
function openSource(source: string, tar: boolean | undefined): { host: Buffer; tar?: number } {
  const host = hostBytes(source)
  if (!(tar ?? isArchive(source))) return { host }
  if (source === '-') return { host, tar: 0 }
  try {
    return { host, tar: openSync(host, 'r') }
  } catch (error) {
    throw new CannotRun(`cannot read ${source}: ${(error as Error).message}`)
  }
}

const hostBytes = (path: string): Buffer => {
  const host = hostPath(path)
  return typeof host === 'string' ? Buffer.from(host) : host
}

function mappingRules({ owner, mode, map }: Arguments): OwnerRule[] {
  const rules: OwnerRule[] = []
  if (owner !== undefined || mode !== undefined) rules.push(ruleOf(undefined, owner, mode))
  if (map === undefined) return rules
  let text: string
  try {
    text = readFileSync(hostPath(map), 'utf8')
  } catch (error) {
    throw new UsageError(`cannot read ${map}: ${(error as Error).message}`)
  }
  text.split('\n').forEach((line, i) => {
    if (/^\s*(#|$)/.test(line)) return
    const words = line.trim().split(/\s+/)
    const mapped = words.splice(-2)
    if (words.length === 0) throw new UsageError(`${map}, line ${i + 1}: expected PATTERN UID:GID MODE`)
    const given = (word: string | undefined): string | undefined => (word === '-' ? undefined : word)
    rules.push(ruleOf(words.join(' '), given(mapped[0]), given(mapped[1])))
  })
  return rules
}

function ruleOf(pattern: string | undefined, owner: string | undefined, mode: string | undefined): OwnerRule {
  if (mode !== undefined) parseMode(mode, 0, false)
  return {
    ...(pattern === undefined ? {} : { pattern: pathPattern(pattern) }),
    ...(owner === undefined ? {} : parseOwner(owner)),
    ...(mode === undefined
      ? {}
      : { mode: (permissions: number, isDir: boolean) => parseMode(mode, permissions, isDir) }),
  }
}
