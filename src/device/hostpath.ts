/** A path on the host; bytes if it is not UTF-8. */
export type HostPath = string | Buffer
