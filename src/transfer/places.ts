import { realpathSync, statSync } from 'node:fs'
import { guarded } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { XfsError } from '../errors.ts'
import { resolveExisting, splitPath } from '../namespace/resolve.ts'
import { printable } from '../util/printable.ts'
import type { Volume } from '../volume.ts'
import type { GetSource, TarSource } from './get.ts'
import { below } from './names.ts'
import type { PutSource } from './put.ts'

/**
 * Destinations as for cp(1): a name in the destination if that is an existing directory, else the
 * destination itself; `DIR/.` means the contents of DIR.
 */

/** The sources cannot be copied to that destination; nothing was changed. */
export class DestinationError extends XfsError {}

/** The last component is ".", so the contents are meant. */
const isContents = (path: Uint8Array): boolean => /(^|\/)\.\/*$/.test(latin1(path))

/**
 * Where each source goes in the image. The contents of archives always go into a directory.
 * @param sources  files of the host, or archives that are open at `tar`
 * @throws DestinationError; XfsError NOTDIR, LOOP, CORRUPT (the path of the destination)
 */
export function putPlaces(
  volume: Volume,
  sources: readonly { readonly host: Buffer; readonly tar?: number }[],
  destination: Uint8Array,
): PutSource[] {
  const into = isDirectory(volume, destination)
  const missing = `${printable(destination)} is not a directory of the image`
  if (!into && sources.length > 1) throw new DestinationError('NOTDIR', missing)
  return sources.map((source) => {
    const { host, tar } = source
    const contents = tar !== undefined || isContents(host)
    if (contents && into) return { ...source, dir: destination, name: undefined }
    if (tar !== undefined) throw new DestinationError('NOTDIR', missing)
    if (contents)
      throw new DestinationError('NOTDIR', `${missing}: create it to put the contents of ${printable(host)} there`)
    const name = lastName(host)
    if (into) return { host, dir: destination, name }
    const text = Buffer.from(destination)
    const end = text.length - (/\/*$/.exec(latin1(text))?.[0].length ?? 0)
    const slash = text.lastIndexOf('/', Math.max(0, end - 1))
    return { host, dir: text.subarray(0, slash + 1), name: text.subarray(slash + 1, end) }
  })
}

/**
 * Where each file of the image goes on the host.
 * @throws DestinationError; XfsError IO
 */
export function getPlaces(sources: readonly Uint8Array[], destination: HostPath): GetSource[] {
  const given = Buffer.from(destination as string)
  const there = guarded(given, 'stat', () => statSync(given, { throwIfNoEntry: false }))
  const into = there?.isDirectory() === true
  // A link to a directory is followed if it was given as the destination, not further down.
  const host = into ? Buffer.from(realpathSync(given, { encoding: 'buffer' })) : given
  if (!into && sources.length > 1) throw new DestinationError('NOTDIR', `${printable(given)} is not a directory`)
  const names = new Set<string>()
  return sources.map((path) => {
    const name = splitPath(path).at(-1)
    const inside = into && name !== undefined && !isContents(path)
    if (inside && names.size === names.add(printable(name)).size)
      throw new DestinationError('EXIST', `two of the files would be copied to ${printable(below(given, name))}`)
    return { path, host: inside ? below(host, name) : host, named: !inside }
  })
}

/** The name of each in an archive: its last component; none for the root, `DIR/.` and `DIR/`. */
export const tarPlaces = (sources: readonly Uint8Array[]): TarSource[] =>
  sources.map((path) => {
    const contents = isContents(path) || path.at(-1) === SLASH
    return { path, name: (contents ? undefined : splitPath(path).at(-1)) ?? new Uint8Array(0) }
  })

const isDirectory = (volume: Volume, path: Uint8Array): boolean => resolveExisting(volume, path)?.isDirectory === true

function lastName(host: Buffer): Buffer {
  const name = Buffer.from(/([^/]*)\/*$/.exec(latin1(host))?.[1] ?? '', 'latin1')
  if (name.length === 0 || name.equals(UP))
    throw new DestinationError('INVAL', `${printable(host)} has no name; use ${printable(host)}/. to put its contents`)
  return name
}

const SLASH = 0x2f
const UP = Buffer.from('..')
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
