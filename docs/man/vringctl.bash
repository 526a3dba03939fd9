# bash completion of vringctl and vringd
_vringctl_ids() {
	vringctl status 2>/dev/null </dev/null | sed -n 's/^  \([^ ]*\) .*/\1/p'
}

_vringctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=() w i
	for ((i = 1; i < COMP_CWORD; i++)); do
		w=${COMP_WORDS[i]}
		case $w in
		--control | --interval | --since | --timeout | --file) ((i++)) ;;
		-*) ;;
		*) words+=("$w") ;;
		esac
	done
	case $prev in
	--control | --file) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--interval | --since | --timeout) return ;;
	esac
	local verb=${words[0]:-} n=${#words[@]} list=""
	if [[ $cur == -* ]]; then
		case $verb in
		ports) list="--qemu --libvirt" ;;
		stats) list="--watch --interval" ;;
		events) list="--follow --since" ;;
		wait) list="--timeout" ;;
		store) list="--file" ;;
		upgrade) list="--keeper" ;;
		esac
		list+=" --control --json --help --version"
	elif ((n == 0)); then
		list="status ports rings features explain fdb stats events migration announce wait port drain undrain log-level upgrade store"
	else
		case $verb:$n in
		port:1) list="add del set release unpin" ;;
		store:1) list="check dump" ;;
		port:2) case ${words[1]} in
			add) list="vhost-user,id= tap,id= null,id=" ;;
			*) list=$(_vringctl_ids) ;;
			esac ;;
		port:*) [[ ${words[1]} == set ]] && list="label= guest= group= hold-ms= hold-bytes= mac= filter= max-macs= rate-in= rate-out= sessions= peer-uid=" ;;
		ports:1 | rings:1 | features:1 | explain:1 | stats:1 | migration:1 | announce:1 | wait:1 | drain:1 | undrain:1) list=$(_vringctl_ids) ;;
		wait:2) list="listening connecting negotiating prepared running stopped draining parked failed" ;;
		upgrade:1) COMPREPLY=($(compgen -f -- "$cur")); return ;;
		log-level:1) list="error warn info debug" ;;
		esac
	fi
	COMPREPLY=($(compgen -W "$list" -- "$cur"))
	[[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -F _vringctl vringctl

_vringd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} list=""
	case $prev in
	--config | --control | --socket-path) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--state-dir | --runtime-dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--port) list="vhost-user,id= tap,id= null,id=" ;;
	--poll-us) list="auto 0 always" ;;
	--sandbox) list="off" ;;
	--durability) list="process host" ;;
	--log-level) list="error warn info debug" ;;
	--threads | --cpus | --hold-total | --fd) return ;;
	*) list="--config --port --state-dir --runtime-dir --control --threads --cpus --poll-us --hold-total --no-keeper --sandbox
		--durability --log-level --check-config --socket-path --fd --print-capabilities --version --help" ;;
	esac
	COMPREPLY=($(compgen -W "$list" -- "$cur"))
	[[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -F _vringd vringd
