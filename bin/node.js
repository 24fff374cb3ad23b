/**
 * What to tell a user whose Node is older than `engines` in package.json allows; undefined where it is not.
 * @param {string} version as `process.versions.node`
 */
exports.tooOld = (version) => {
  const [major, minor] = version.split('.').map(Number)
  const [wantedMajor, wantedMinor] = major < 21 ? [20, 19] : [22, 12]
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined
  return `xfskit needs Node ${wantedMajor}.${wantedMinor} or newer; this is ${version}`
}
