/** @param {unknown} payload */
export default function identity (payload) {
  return payload
}
