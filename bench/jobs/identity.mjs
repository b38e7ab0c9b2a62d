export default function identity (payload) { return payload }
