/**
 * xfskit/promises: an opened image in the form of `node:fs/promises`, for tools that take an `fs`.
 * A worker does the work. Calls are done one after the other, in order.
 *
 *     await using fs = await open('disk.img', { write: true })
 *     await fs.writeFile('/etc/motd', 'welcome\n')
 *
 * @packageDocumentation
 */
export { type ErrorCode, XfsError } from './errors.ts'
export { type NodeForm, open, type XfsForm, type XfsPromises } from './worker/client.ts'
export type { Directory } from './worker/directory.ts'
export type { FileHandle, ReadOptions, WriteAt } from './worker/filehandle.ts'
export { Dirent, Stats } from './xfsimage/stats.ts'
export type { FileOpenOptions, ImageTarget } from './xfsimage/xfsimage.ts'
