import { closeSync, openSync, readFileSync } from 'node:fs'
import { pinnedTime } from '../../format/time.ts'
import type { HostPath } from '../../xfsimage/host.ts'
import { type PutName, type PutOptions, type PutRule, withoutNative } from '../../xfsimage/transfer.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath } from '../arguments.ts'
import { CannotRun, type Command, UsageError } from '../command.ts'
import { named } from '../json.ts'
import { withImage } from '../open.ts'
import { parseMode, parseOwner } from '../paths.ts'
import { withProgress } from '../progress.ts'
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
  plan: ({ paths, map, tar, oneFileSystem = false }) => {
    const sources = paths.slice(0, -1)
    return {
      paths: sources.filter((source) => !(tar ?? isArchive(source))),
      contents: [...sources.filter((source) => tar ?? isArchive(source)), ...(map === undefined ? [] : [map])],
      oneFileSystem,
    }
  },
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
    const rules = ownerRules(args)
    const sources = args.paths.slice(0, -1)
    const target = args.paths.at(-1)
    if (target === undefined || sources.length === 0)
      throw new UsageError('put needs files of the host and a destination')
    if (args.xattrs !== false) warnLacking(session, 'put', withoutNative())
    const names: object[] = []
    const atime = pinnedTime(process.env)
    const options = {
      ...rules,
      ...(atime && { atime }),
      xattrs: args.xattrs !== false,
      sparse: args.sparse === true,
      oneFileSystem: args.oneFileSystem === true,
      onProblem: problemReporter(session, 'put'),
      ...(session.out.json && {
        onPut: ({ path, ...rest }: PutName): void => {
          names.push({ ...named('path', path), ...rest })
        },
      }),
    }
    const result = await withImage(session, args.image, 'write', args, async (image) => {
      const opened: ReturnType<typeof openSource>[] = []
      try {
        for (const source of sources) opened.push(openSource(source, args.tar))
        const put = () => withProgress((long) => image.put(opened, imagePath(target), { ...options, ...long }))
        return withStatus(await placed(put))
      } finally {
        for (const source of opened) if ('fd' in source && source.fd > 0) closeSync(source.fd)
      }
    })
    return reportTransfer(session, 'put', result, { dryRun: args.dryRun === true, names })
  },
}
export default command

/** A file of the host, or an open archive. */
function openSource(source: string, tar: boolean | undefined): { readonly path: HostPath } | { readonly fd: number } {
  const path = hostPath(source)
  if (!(tar ?? isArchive(source))) return { path }
  if (source === '-') return { fd: 0 }
  try {
    return { fd: openSync(path, 'r') }
  } catch (error) {
    throw new CannotRun(`cannot read ${source}: ${(error as Error).message}`)
  }
}

/** Owners and permissions of everything, and of what a rule of `--map` matches. */
function ownerRules({ owner, mode, map }: Arguments): Pick<PutOptions, 'owner' | 'mode' | 'rules'> {
  const all = {
    ...(owner !== undefined && { owner: parseOwner(owner) }),
    ...(mode !== undefined && { mode: modeOf(mode) }),
  }
  if (map === undefined) return all
  const rules: PutRule[] = []
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
    const [ids, permissions] = [given(mapped[0]), given(mapped[1])]
    rules.push({
      pattern: words.join(' '),
      ...(ids !== undefined && parseOwner(ids)),
      ...(permissions !== undefined && { mode: modeOf(permissions) }),
    })
  })
  return { ...all, rules }
}

/** @throws UsageError */
function modeOf(mode: string): (permissions: number, isDirectory: boolean) => number {
  parseMode(mode, 0, false)
  return (permissions, isDirectory) => parseMode(mode, permissions, isDirectory)
}
