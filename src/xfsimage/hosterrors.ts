/** Errors of the host's file system as XfsError, for programs that read and write other files, too. */
export { guarded } from '../device/file.ts'
